// $NAME: a gated-XNOR network that works only where something happens.
//
// One engine of $LANES lanes runs all layers, one after the other. A layer takes its input as a list of events, each a place
// with a value that is not zero, and has a word of accumulators for every output place and block of $LANES channels:
//
//    accumulate   for every event, every tap of the kernel that reaches an output, every block of channels:
//                 a lane whose weight is +1 adds the value, one whose weight is -1 subtracts it, all others rest
//    emit         for every output place: sums meet their thresholds, pools take the largest state, and what is not zero
//                 becomes an event of the next layer; accumulators are cleared as they are read
//
// Weights are two planes, up and down, so the operand of a lane that rests is constantly zero. The sums of the last layer
// leave by out_index and out_sum. With DENSE = 1 zeros are events too: the same circuit without its gates, to compare with.
//
// in: $INPUTS values in the order (channel, row, column), $INPUT_MEANING, taken where in_valid and in_ready are both high.
// out: $OUTPUTS sums, each held until out_ready. reset is synchronous and may come at any time; the accumulators are
// cleared after it, before in_ready rises.
`default_nettype none
module $NAME #(parameter DENSE = 0) (
    input  wire clk,
    input  wire reset,
    input  wire [$IN_BITS-1:0] in_data,
    input  wire in_valid,
    output wire in_ready,
    output reg  [$CLASS_BITS-1:0] out_index,
    output reg  signed [$A-1:0] out_sum,
    output reg  out_valid,
    input  wire out_ready
);
  localparam L = $LANES, A = $A, S = $STEPS, V = $V, Y = $Y, X = $X, W = $W, P = $P, C = $C, N = $N;

  // What differs from layer to layer.
  reg [$LAYER_BITS-1:0] layer;
  reg [$B_BITS-1:0] last_block;
  reg [$L_BITS-1:0] last_lane;  // of the last block
  reg [W-1:0] w_base, wx, wy, channel_step;
  reg signed [P:0] ax, ay;
  reg [$Y_ADDR-1:0] y_base;
  reg [$X_ADDR-1:0] x_base;
  reg [$T_ADDR-1:0] t_base;
  reg [$E_ADDR-1:0] e_base;
  reg [$S_BITS-1:0] half;
  reg binary, logits;
  always @* begin
    case (layer)
$CASES
    endcase
  end

  // Read-only memories, written by the generator.
  reg [S*A:0] steps [0:$T_DEPTH-1];          // a flip, and the steps of a channel
  reg [$Y_WIDTH-1:0] rows [0:$Y_DEPTH-1];    // taps, first weight, first accumulator of an input row
  reg [$X_WIDTH-1:0] columns [0:$X_DEPTH-1];
  reg [$E_WIDTH-1:0] places [0:$E_DEPTH-1];  // accumulators of output places; see `places` in the generator
  initial begin
    $readmemh("${NAME}_steps.hex", steps);
    $readmemh("${NAME}_rows.hex", rows);
    $readmemh("${NAME}_columns.hex", columns);
    $readmemh("${NAME}_places.hex", places);
  end

  localparam CLEAR = 3'd0, LOAD = 3'd1, TURN = 3'd2, RUN = 3'd3, READ = 3'd4, WORD = 3'd5, TAKE = 3'd6, LANES = 3'd7;
  reg [2:0] state;
  assign in_ready = state == LOAD;

  // Events: two banks, one read while the other is written.
  (* no_rw_check *) reg [V+Y+X+C-1:0] events [0:2*$E_MOST-1];
  reg bank;
  reg [N-1:0] waiting, taken, made;  // events of this layer, those of them fetched, those of the next layer
  reg e_write;
  reg [V+Y+X+C-1:0] e_data;
  reg [V+Y+X+C-1:0] e_read;
  always @(posedge clk) begin
    if (e_write) events[{~bank, made[N-2:0]}] <= e_data;
    e_read <= events[{bank, taken[N-2:0]}];
  end

  // Fetching: an event, then what its row and its column reach, while the event before is worked on.
  reg [1:0] fetch;
  reg ready;
  reg [$Y_WIDTH-1:0] row;
  reg [$X_WIDTH-1:0] column;
  reg [V+C-1:0] held;
  always @(posedge clk) begin
    if (fetch == 1) begin
      row <= rows[y_base + e_read[C+X +: Y]];
      column <= columns[x_base + e_read[C +: X]];
    end
  end
  wire [$TY-1:0] row_taps = row[W+P +: $TY];
  wire [$TX-1:0] column_taps = column[W+P +: $TX];
  wire [W-1:0] w_start = w_base + held[C-1:0] + row[P +: W] + column[P +: W];
  wire [P-1:0] a_start = row[P-1:0] + column[P-1:0];

  // The event under way.
  reg working;
  reg signed [V-1:0] value;
  reg [$TY-1:0] taps_y;
  reg [$TX-1:0] taps_x, taps_row;
  reg [$B_BITS-1:0] block;
  reg [W-1:0] w_row, w_column;
  reg [P-1:0] a_row, a_column;
  wire [P-1:0] a_address = a_column + block;
  wire [W-1:0] w_address = w_column + block;

  // Accumulate: fetch the weights in one cycle, the sums in the next, add and write back in the third. A word of sums is
  // never read in the cycle that writes it, so that any block RAM will do.
  (* no_rw_check *) reg [L*A-1:0] sums [0:$P_DEPTH-1];
  reg [L*A-1:0] sum;
  reg [2*L-1:0] fetched, weight;
  reg reading, adding;
  reg [P-1:0] read, added;
  reg signed [V-1:0] next;
  reg signed [A-1:0] plus, minus;
  wire go = working && !(reading && read == a_address);  // its sums would be read before they are written
  wire last = block == last_block && taps_x == 1 && taps_y == 1;
  wire [L*A-1:0] operands, result;
  genvar i;
  generate
    for (i = 0; i < L; i = i + 1) begin : lane
      assign operands[i*A +: A] = ({A{weight[i]}} & plus) | ({A{weight[L + i]}} & minus);
      assign result[i*A +: A] = sum[i*A +: A] + operands[i*A +: A];
    end
  endgenerate

  // The weights of two lanes a memory, so that deep and narrow block RAMs fit and little is left to select from.
$WEIGHTS

  // Emit.
  reg [$E_ADDR-1:0] place, window;  // the place under way, and the first one of its pooling window
  reg [$E_WIDTH-1:0] at;
  reg [L*A-1:0] word;
  reg [$L_BITS-1:0] lane_now;
  reg [$T_ADDR-1:0] channel, block_channel;
  reg [S*A:0] step;
  reg [C-1:0] offset, block_offset;
  reg first;
  reg [$S_BITS-1:0] best [0:L-1];
  reg [P-1:0] clearing;
  wire [P-1:0] at_address = at[P-1:0];
  wire at_spare = at[P+X+Y], at_last = at[P+X+Y+1], at_end = at[P+X+Y+2];
  wire signed [A-1:0] here = word[A-1:0];
  reg [$S_BITS-1:0] count;
  integer k;
  always @* begin
    count = first ? {$S_BITS{1'b0}} : best[lane_now];
    for (k = 0; k < S; k = k + 1)
      if (here >= $signed(step[k*A +: A]) && count < k + 1) count = k + 1;
  end
  wire signed [V-1:0] level = binary ? $signed({{V{1'b0}}, count, 1'b0}) - 1 : $signed({{V{1'b0}}, count}) - $signed({{V{1'b0}}, half});
  wire signed [V-1:0] signed_level = step[S*A] ? -level : level;
  wire lanes_done = lane_now == (block == last_block ? last_lane : L - 1);
  wire sent = !out_valid || out_ready;

  wire a_write = adding || state == CLEAR || state == TAKE;
  wire [P-1:0] a_to = state == CLEAR ? clearing : adding ? added : at_address + block;
  wire [P-1:0] a_from = state == RUN ? read : at_address + block;
  always @(posedge clk) begin
    if (a_write) sums[a_to] <= adding ? result : {L*A{1'b0}};
    sum <= sums[a_from];
    weight <= fetched;
    at <= places[place];
    step <= steps[t_base + channel];
  end

  // Where the input is.
  reg [Y-1:0] in_y;
  reg [X-1:0] in_x;

  always @(posedge clk) begin
    e_write <= 0;
    if (e_write) made <= made + 1;
    reading <= 0;
    adding <= reading && !reset;
    added <= read;
    plus <= next;
    minus <= -next;
    if (out_ready) out_valid <= 0;
    if (reset) begin
      state <= CLEAR; clearing <= 0; layer <= 0; working <= 0; ready <= 0; fetch <= 0; out_valid <= 0; e_write <= 0;
      waiting <= 0; taken <= 0; made <= 0; bank <= 0; in_y <= 0; in_x <= 0; offset <= 0; place <= 0; window <= 0;
    end else case (state)
      CLEAR: begin
        clearing <= clearing + 1;
        if (clearing == $P_DEPTH - 1) state <= LOAD;
      end

      LOAD: if (in_valid) begin
        e_write <= in_data != 0 || DENSE;
        e_data <= {$IN_VALUE, in_y, in_x, offset};
        in_x <= in_x + 1;
        if (in_x == $IN_W - 1) begin
          in_x <= 0;
          in_y <= in_y + 1;
          if (in_y == $IN_H - 1) begin
            in_y <= 0;
            offset <= offset + $IN_STEP;
            if (offset == $IN_LAST) begin
              offset <= 0;
              state <= TURN;
            end
          end
        end
      end

      TURN: if (!e_write) begin  // the list of events is complete: what was written is read now
        bank <= ~bank;
        waiting <= made; made <= 0; taken <= 0;
        fetch <= 0; ready <= 0; working <= 0;
        place <= e_base; window <= e_base;
        state <= RUN;
      end

      RUN: begin
        case (fetch)
          0: if (taken != waiting) fetch <= 1;
          1: begin
            held <= {e_read[C+X+Y +: V], e_read[C-1:0]};
            taken <= taken + 1;
            fetch <= 2;
          end
          2: if (row_taps == 0 || column_taps == 0) fetch <= 0;
             else begin
               ready <= 1;
               fetch <= 3;
             end
          3: ;
        endcase
        if (go) begin
          reading <= 1;
          read <= a_address;
          next <= value;
          block <= block + 1;
          if (block == last_block) begin
            block <= 0;
            taps_x <= taps_x - 1;
            w_column <= w_column + wx;
            a_column <= a_column + ax;
            if (taps_x == 1) begin
              taps_x <= taps_row;
              taps_y <= taps_y - 1;
              w_row <= w_row + wy; w_column <= w_row + wy;
              a_row <= a_row + ay; a_column <= a_row + ay;
              if (taps_y == 1) working <= 0;
            end
          end
        end
        if (ready && (!working || (go && last))) begin
          working <= 1;
          ready <= 0;
          fetch <= taken != waiting ? 1 : 0;
          value <= held[C +: V];
          taps_y <= row_taps; taps_x <= column_taps; taps_row <= column_taps;
          block <= 0;
          w_row <= w_start; w_column <= w_start;
          a_row <= a_start; a_column <= a_start;
        end
        if (taken == waiting && fetch == 0 && !ready && !working && !reading && !adding) begin
          block <= 0;
          channel <= 0; block_channel <= 0;
          block_offset <= 0;
          first <= 1;
          state <= READ;
        end
      end

      READ: state <= WORD;  // the place arrives in `at`

      WORD: state <= TAKE;  // its accumulators arrive in `sum`

      TAKE: begin  // and are cleared
        word <= sum;
        lane_now <= 0;
        offset <= block_offset;
        channel <= channel + 1;
        state <= LANES;
      end

      LANES: if (sent) begin
        if (logits) begin
          out_valid <= 1;
          out_index <= channel - 1;
          out_sum <= here;
        end else begin
          best[lane_now] <= count;
          e_write <= at_last && !at_spare && (signed_level != 0 || DENSE);
          e_data <= {signed_level, at[P+X +: Y], at[P +: X], offset};
        end
        word <= word >> A;
        lane_now <= lane_now + 1;
        offset <= offset + channel_step;
        channel <= channel + 1;
        if (lanes_done) begin
          state <= READ;
          first <= at_last;
          channel <= block_channel;
          if (!at_last) place <= place + 1;  // the next place of the same window, for the same channels
          else if (block != last_block) begin
            block <= block + 1;
            channel <= channel; block_channel <= channel;
            block_offset <= offset + channel_step;
            place <= window;
          end else begin
            block <= 0;
            channel <= 0; block_channel <= 0;
            block_offset <= 0;
            place <= place + 1; window <= place + 1;
            if (at_end) begin
              layer <= logits ? 0 : layer + 1;
              offset <= 0;
              state <= logits ? LOAD : TURN;
            end
          end
        end
      end
    endcase
  end
endmodule
`default_nettype wire
