// $NAME: a gated-XNOR network that works only where something happens.
//
// One engine of $LANES lanes runs all layers, one after the other. A layer takes its input as events, each a place with a
// value that is not zero, and has a word of accumulators for every output place and block of $LANES channels:
//
//    accumulate   for every event, every tap of the kernel that reaches an output, every block of channels:
//                 a lane whose weight is not 0 opens and adds or subtracts the value; all others rest
//    emit         for every output place: sums meet their thresholds, pools take the largest state, and what is not zero
//                 becomes an event of the next layer; accumulators are cleared as they are read for the last time
//
// Both run at the same time: in a step, one layer emits into a queue of events, from which another accumulates. Step 0 takes
// the input; in the last step the sums of the last layer leave by out_index and out_sum. A value that is added to another
// takes a step of its own, into the accumulators of the sum; so do the planes of weights of more than three states.
//
// With DENSE = 1 zeros are events too and no lane ever rests: the same circuit without its gates, to compare with.
//
// in: $INPUTS values in the order (channel, row, column), $INPUT_MEANING, taken where in_valid and in_ready are both high.
// out: $OUTPUTS sums, each held until out_ready. reset is synchronous and may come at any time; the accumulators are
// cleared after it, before in_ready rises.
`default_nettype none
/* verilator lint_off WIDTH */  // numbers of different widths meet, and are extended as the language does it
module $NAME #(parameter DENSE = 0) (
    input  wire clk,
    input  wire reset,
    input  wire [7:0] in_data,
    input  wire in_valid,
    output wire in_ready,
    output reg  [$CLASS_BITS-1:0] out_index,
    output reg  signed [$A-1:0] out_sum,
    output reg  out_valid,
    input  wire out_ready
);
  localparam L = $LANES, A = $A, S = $STATES, V = $V, Y = $Y, X = $X, W = $W, K = $K, P = $P, Q = $Q;
  localparam LANE = $LANE_BITS, BLOCK = $BLOCK_BITS;

  // What differs from step to step: how the layer that accumulates walks, and what the layer that emits makes of counts.
  reg [$STEP_BITS-1:0] step;
  reg [$LOOP_BITS-1:0] last_block;
  reg [K-1:0] tap_w;
  reg [P-1:0] tap_a;
  reg [$S_BITS-1:0] half;
  reg [$SHIFT_BITS-1:0] shift;
  reg binary, least, linear, logits;
  always @* begin
    last_block = 0; tap_w = 1; tap_a = 0; half = 0; shift = 0; binary = 0; least = 0; linear = 0; logits = 0;
    case (step)
$CASES
    endcase
  end

  // The queue of events: value, row, column, and where the weights of its channel begin.
  (* ram_style = "block", no_rw_check *) reg [V+Y+X+W-1:0] events [0:(1<<Q)-1];
  reg [Q:0] put, got;
  reg e_write, room;
  reg [V+Y+X+W-1:0] e_data, event_0;
  wire [Q:0] queued = put - got;
  wire waiting = put != got;

  // From the queue to the walk: each cycle of these hands over when the next one is free.
  (* ram_style = "block" *) reg [$Y_WIDTH-1:0] rows [0:$Y_DEPTH-1];     // taps, first weight, first accumulator of a row
  (* ram_style = "block" *) reg [$X_WIDTH-1:0] columns [0:$X_DEPTH-1];  // the same, and what leads to the next row of taps
  initial begin
    $readmemh("${NAME}_rows.hex", rows);
    $readmemh("${NAME}_columns.hex", columns);
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

  // The event under way: its taps, row by row, and the blocks of channels of each.
  reg working;
  reg [V-1:0] value;
  reg [W-1:0] w;
  reg [P-1:0] a, next_a;
  reg [K-1:0] next_w;
  reg [$TY-1:0] taps_y;
  reg [$TX-1:0] taps_x, taps_row;
  reg [$LOOP_BITS-1:0] block;
  wire ask;                                   // the other half of the circuit takes this cycle, to emit
  reg adds, adds_1, clears, clears_1, clears_2;
  reg [P-1:0] op_a, a_from, a_then, a_to;
  wire hazard = (adds && op_a == a) || (adds_1 && a_from == a);  // these sums are not written yet
  wire go = working && !ask && !hazard;
  wire same_tap = block != last_block, same_row = taps_x != 1;
  wire last = !same_tap && !same_row && taps_y == 1;
  wire take = full_2 && (!working || (go && last));
  wire move_1 = full_1 && (!full_2 || take);
  wire move_0 = full_0 && (!full_1 || move_1);
  wire fetch = waiting && (!full_0 || move_0);

  always @(posedge clk) begin
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
    if (take) begin
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
    room <= !queued[Q] && queued[Q-1:3] != {(Q-3){1'b1}};  // eight are left, for what is under way between the lanes and the queue
    full_0 <= !reset && (fetch || (full_0 && !move_0));
    full_1 <= !reset && (move_0 || (full_1 && !move_1));
    full_2 <= !reset && (move_1 ? row_taps != 0 && column_taps != 0 : full_2 && !take);
    working <= !reset && (take || (working && !(go && last)));
  end

  // The lanes, in four cycles: weights are fetched; sums of lanes that open are fetched; operands are chosen; added and
  // written back. The words of weights begin with one that opens no lane and one that opens all, to take sums and clear.
  reg [W-1:0] op_w;
  reg signed [V-1:0] op_value, value_1, plus, minus;
  wire [A-1:0] any;
  wire wipe;         // sums that are taken are cleared; else they are read once more
  reg [L-1:0] skip;  // all but the lane that is picked
  reg [$E_WIDTH-1:0] at;
  wire [P-1:0] at_a = at[P-1:0];
  always @(posedge clk) begin
    adds <= go && !reset;
    clears <= ask && !reset;
    op_w <= go ? w : 0;
    if (ask) op_w[0] <= 1;
    op_a <= ask ? at_a : a;
    op_value <= value;
    adds_1 <= adds; clears_1 <= clears; a_from <= op_a; value_1 <= op_value;
    clears_2 <= clears_1; a_then <= a_from; plus <= value_1; minus <= -value_1;
    a_to <= a_then;
  end
$ALL_LANES
$PICKED

  // Emit: a place of accumulators is taken, and its lanes go one after the other through thresholds to events.
  (* ram_style = "block" *) reg [$E_WIDTH-1:0] places [0:$E_DEPTH-1];
  (* ram_style = "block" *) reg [$C_WIDTH-1:0] channels [0:$C_DEPTH-1];  // first weight in the next layer, sign, thresholds
  initial begin
    $readmemh("${NAME}_places.hex", places);
    $readmemh("${NAME}_channels.hex", channels);
  end
  localparam STILL = 3'd0, SEEK = 3'd1, ASK = 3'd2, WAIT = 3'd3, EMIT = 3'd4;
  reg [2:0] state;
  reg wiping, made, first;  // after a reset; all events of this step are made; the first place of a pooling window
  reg [$E_ADDR-1:0] place;
  reg [LANE-1:0] lane, lane_1, lane_2, lane_3;
  reg valid_1, valid_2, valid_3;
  reg [$C_WIDTH-1:0] channel_1, channel_2;
  reg [W:0] channel_3;
  reg signed [A-1:0] here;
  reg [S-1:0] seen_3, best_3;
  (* ram_style = "block", no_rw_check *) reg [S-1:0] best [0:L-1];
  wire [BLOCK-1:0] at_block = at[P +: BLOCK];
  wire [LANE-1:0] at_lanes = at[P+BLOCK +: LANE];
  wire [Y+X-1:0] at_place = at[P+BLOCK+LANE +: Y+X];
  wire at_spare = at[P+BLOCK+LANE+Y+X], at_last = at[P+BLOCK+LANE+Y+X+1], at_keep = $KEEP, at_end = at[$E_WIDTH-1];
  wire quiet = !valid_1 && !valid_2 && !valid_3 && !e_write;
  wire lane_go = state == EMIT && (logits ? !valid_1 && !valid_2 && !out_valid : room);
  assign ask = state == ASK;
  assign wipe = clears_2 && (!at_keep || wiping);

  integer i;
  reg [S-1:0] seen;  // thresholds are ascending: the largest state of a pooling window is an OR, the smallest an AND
  reg [$S_BITS-1:0] count;
  always @* begin
    seen = first ? seen_3 : least && channel_3[W] ? seen_3 & best_3 : seen_3 | best_3;
    count = 0;
    for (i = 0; i < S; i = i + 1) count = count + seen[i];
  end
  wire signed [$S_BITS+1:0] above = {2'b0, count}, level = binary ? (above << 1) - 1 : above - $signed({2'b0, half});
  wire signed [$S_BITS+1:0] level_3 = channel_3[W] ? -level : level;
$EMITTED

  // Where the input is.
  reg [Y-1:0] in_y;
  reg [X-1:0] in_x;
  reg [W-1:0] in_w;
$INPUT_VALUE
  wire in_open = step == 0 && state == STILL && !wiping && !made && room;
  assign in_ready = in_open && !border;
  wire in_go = in_open && (border || in_valid);
  wire turn = made && quiet && !waiting && !full_0 && !full_1 && !full_2 && !working && !adds && !adds_1 && !out_valid;
  integer k;

  always @(posedge clk) begin
    if (state == SEEK && quiet) begin
      at <= places[place];
      first <= at_last;
    end
    channel_1 <= channels[{at_block, lane}];
    lane_1 <= lane;
    here <= any;
    channel_2 <= channel_1;
    lane_2 <= lane_1;
    for (k = 0; k < S; k = k + 1) seen_3[k] <= here >= $signed(channel_2[k*A +: A]);
    best_3 <= best[lane_2];
    channel_3 <= channel_2[S*A +: W+1];
    lane_3 <= lane_2;
    if (valid_3) best[lane_3] <= seen;

    valid_1 <= lane_go && !reset;
    valid_2 <= valid_1 && !reset;
    valid_3 <= valid_2 && !logits && !reset;
    e_write <= !reset && (in_go ? border || in_data != 0 || DENSE : valid_3 && at_last && (emitted != 0 || DENSE));
    e_data <= step == 0 ? {in_value, in_y, in_x, in_w} : {emitted, at_place, channel_3[W-1:0]};
    if (valid_2 && logits) begin
      out_valid <= 1;
      out_sum <= here;
    end else if (out_ready) out_valid <= 0;
    if (out_valid && out_ready) out_index <= out_index + 1;

    if (clears_2) begin
      lane <= 0;
      skip <= {{L-1{1'b1}}, 1'b0};
    end else if (lane_go) begin
      lane <= lane + 1;
      skip <= {skip[L-2:0], 1'b1};
    end

    if (in_go) begin
      in_x <= in_x + 1;
      if (in_x == $IN_W - 1) begin
        in_x <= 0;
        in_y <= in_y + 1;
        if (in_y == $IN_H - 1) begin
          in_y <= 0;
          in_w <= $IN_LAST == $IN_FIRST ? $IN_FIRST : in_w + $IN_STEP;
          if (in_w == $IN_LAST) begin
            in_w <= $IN_FIRST;
            made <= 1;
          end
        end
      end
    end

    case (state)
      STILL: if (wiping) state <= SEEK;
      SEEK: if (quiet) state <= ASK;
      ASK: begin
        place <= place + 1;
        state <= WAIT;
        if (wiping) begin
          state <= SEEK;
          if (place == $E_DEPTH - 1) begin
            wiping <= 0;
            place <= 0;
            state <= STILL;
          end
        end
      end
      WAIT: if (clears_2) begin
        state <= EMIT;
        if (at_spare) begin
          state <= at_end ? STILL : SEEK;
          made <= at_end;
        end
      end
      EMIT: if (lane_go && lane == at_lanes) begin
        state <= at_end ? STILL : SEEK;
        made <= at_end;
      end
      default: ;
    endcase

    if (turn) begin
      made <= 0;
      step <= step + 1;
      state <= SEEK;
      if (step == $STEPS) begin
        step <= 0;
        place <= 0;
        out_index <= 0;
        state <= STILL;
      end
    end

    if (reset) begin
      state <= STILL; wiping <= 1; made <= 0; step <= 0; place <= 0; out_index <= 0; out_valid <= 0;
      in_y <= 0; in_x <= 0; in_w <= $IN_FIRST;
    end
  end
endmodule

// A lane: the weights and the sums of every $LANES-th output channel. Nothing in it changes while it rests.
module ${NAME}_lane #(parameter A = 8, V = 2, W = 8, P = 8, WORDS = 1, DEPTH = 1, DENSE = 0,
    WEIGHTS = "${NAME}_lane_0.hex") (
    input  wire clk,
    input  wire [W-1:0] w,             // first cycle
    input  wire busy,                  // second
    input  wire [P-1:0] from,
    input  wire [V-1:0] plus, minus,   // third: the event's value and its negative
    input  wire clear, wipe,           // a word that opens all lanes: the sum is kept, to be picked; 0 is left there
    input  wire [P-1:0] to,            // fourth
    input  wire skip,
    output reg  [A-1:0] picked
);
  (* ram_style = "block" *) reg [1:0] weights [0:WORDS-1];  // down, and not 0
  (* ram_style = "block", no_rw_check *) reg [A-1:0] sums [0:DEPTH-1];
  initial $readmemh(WEIGHTS, weights);
  reg [1:0] weight;
  reg [A-1:0] found, kept, sum, operand;
  reg opened, down, zero, writes;
  wire open = weight[0] || (DENSE && busy);
  wire [A-1:0] result = sum + operand;
  wire [V-1:0] chosen = DENSE && zero ? {V{1'b0}} : down ? minus : plus;
  always @(posedge clk) begin
    weight <= weights[w];
    if (open) found <= sums[from];
    opened <= open;
    if (open) down <= weight[1];
    zero <= !weight[0];
    if (wipe) sum <= 0;
    else if (opened) sum <= found;
    if (clear) operand <= 0;
    else if (opened) operand <= {{(A-V+1){chosen[V-1]}}, chosen[V-2:0]};
    writes <= opened;
    if (writes) sums[to] <= result;
    if (clear) kept <= found;
    picked <= skip ? {A{1'b0}} : kept;
  end
endmodule
`default_nettype wire
