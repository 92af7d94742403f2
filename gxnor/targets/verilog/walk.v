// Events wait in a queue and meet their taps one after the other: in each cycle of `go`, a word of weights and one of sums.
module ${UNIT}_walk (
    input  wire clk, reset,
    input  wire [$TAKES_BITS-1:0] takes,              // the step whose events these are
    input  wire take,
    input  wire [$VE+$Y+$X+$W-1:0] taken,  // values, row, column, and where the weights of their channels begin
    output reg  room,
    output wire settled,                   // what was taken is in the queue
    output wire drained,                   // nothing is left of it
    input  wire hold,
    output wire go,
    output reg  [$W-1:0] w,
    output reg  [$P-1:0] a,
    output reg  [$VE-1:0] value
);
  localparam V = $VE, Y = $Y, X = $X, W = $W, K = $K, P = $P, Q = $Q;
  reg [$LOOP_BITS-1:0] last_block;
  reg [K-1:0] tap_w;
  reg [P-1:0] tap_a;
  always @* begin
    last_block = 0; tap_w = 1; tap_a = 0;
    case (takes)
$WALKS
    endcase
  end

  (* ram_style = "block", no_rw_check *) reg [V+Y+X+W-1:0] events [0:(1<<Q)-1];
  reg [Q:0] put, got;
  reg e_write;
  reg [V+Y+X+W-1:0] e_data, event_0;
  wire [Q:0] queued = put - got;
  wire waiting = put != got;

  // From the queue to the walk: each cycle of these hands over when the next one is free.
  (* ram_style = "$STYLE" *) reg [$Y_WIDTH-1:0] rows [0:$Y_DEPTH-1];     // taps, first weight, first accumulator of a row
  (* ram_style = "$STYLE" *) reg [$X_WIDTH-1:0] columns [0:$X_DEPTH-1];  // the same, and what leads to the next row of taps
  initial begin
    $readmemh("${UNIT}_rows.hex", rows);
    $readmemh("${UNIT}_columns.hex", columns);
  end
  reg full_0, full_1, full_2;
  reg [$Y_WIDTH-1:0] row;
  reg [$X_WIDTH-1:0] column;
  reg [V+W-1:0] event_1;
  reg [V-1:0] value_2;
  reg [W-1:0] w_2;
  reg [P-1:0] a_2, next_a_2;
  reg [K-1:0] next_w_2;
  reg [$TY-1:0] taps_y_2;
  reg [$TX-1:0] taps_x_2;
  wire [$TY-1:0] row_taps = row[K+P +: $TY];
  wire [$TX-1:0] column_taps = column[2*K+2*P +: $TX];

  // The events under way: their taps, row by row, and the blocks of channels of each.
  reg working;
  reg [P-1:0] next_a;
  reg [K-1:0] next_w;
  reg [$TY-1:0] taps_y;
  reg [$TX-1:0] taps_x, taps_row;
  reg [$LOOP_BITS-1:0] block;
  assign go = working && !hold;
  wire same_tap = block != last_block, same_row = taps_x != 1;
  wire last = !same_tap && !same_row && taps_y == 1;
  wire begins = full_2 && (!working || (go && last));
  wire move_1 = full_1 && (!full_2 || begins);
  wire move_0 = full_0 && (!full_1 || move_1);
  wire fetch = waiting && (!full_0 || move_0);
  assign settled = !e_write;
  wire idle = !waiting && !full_0 && !full_1 && !full_2 && !working;
  assign drained = settled && idle;

  always @(posedge clk) begin
    e_write <= !reset && take;
    e_data <= taken;
    if (e_write) events[put[Q-1:0]] <= e_data;
    if (fetch) event_0 <= events[got[Q-1:0]];
    if (move_0) begin
      row <= rows[event_0[W+X +: Y]];
      column <= columns[event_0[W +: X]];
      event_1 <= {event_0[W+X+Y +: V], event_0[W-1:0]};
    end
    if (move_1) begin
      value_2 <= event_1[W +: V];
      w_2 <= event_1[W-1:0] + row[P +: K] + column[2*P+K +: K];
      a_2 <= row[P-1:0] + column[P-1:0];
      next_w_2 <= column[2*P +: K];
      next_a_2 <= column[P +: P];
      taps_y_2 <= row_taps;
      taps_x_2 <= column_taps;
    end
    if (begins) begin
      value <= value_2;
      w <= w_2; next_w <= next_w_2;
      a <= a_2; next_a <= next_a_2;
      taps_y <= taps_y_2; taps_x <= taps_x_2; taps_row <= taps_x_2;
      block <= 0;
    end else if (go) begin
      w <= w + (same_tap ? 1 : same_row ? tap_w : next_w);
      a <= a + (same_tap ? 1 : same_row ? tap_a : next_a);
      block <= same_tap ? block + 1 : 0;
      if (!same_tap) begin
        taps_x <= same_row ? taps_x - 1 : taps_row;
        if (!same_row) taps_y <= taps_y - 1;
      end
    end
    put <= reset ? 0 : put + e_write;
    got <= reset ? 0 : got + fetch;
    room <= !queued[Q] && queued[Q-1:3] != {(Q-3){1'b1}};  // eight are left, for what is under way between lanes and queue
    full_0 <= !reset && (fetch || (full_0 && !move_0));
    full_1 <= !reset && (move_0 || (full_1 && !move_1));
    full_2 <= !reset && (move_1 ? row_taps != 0 && column_taps != 0 : full_2 && !begins);
    working <= !reset && (begins || (working && !(go && last)));
  end
endmodule

