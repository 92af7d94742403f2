// Emits: a place of accumulators is taken, and its lanes go, $EVENTS at a time, through thresholds to events.
module ${UNIT}_emit #(parameter DENSE = 0) (
    input  wire clk, reset,
    input  wire [$GIVES_BITS-1:0] gives,  // the step whose events these are
    input  wire start,
    input  wire turn,              // they are all added
    input  wire room, settled,
    output wire done,              // they are all made
    output wire give,
    output wire [$GIVEN_BITS-1:0] given,
    output reg  wiping,            // after a reset
    output reg  wiped,             // one of two banks of accumulators is
    output wire ask,               // for the sums at_a
    output wire [$P-1:0] at_a,
    input  wire arrives,           // here they are
    output wire wipe,
    output reg  [$LANES/$EVENTS-1:0] skip,
    input  wire [$EVENTS*$A-1:0] any,
    output reg  [$CLASS_BITS-1:0] out_index,
    output reg  signed [$A-1:0] out_sum,
    output reg  out_valid,
    input  wire out_ready
);
  localparam E = $EVENTS, L = $LANES, A = $A, S = $STATES, V = $GIVEN_V, Y = $GIVEN_Y, X = $GIVEN_X, W = $GIVEN_W;
  localparam P = $P, C = $SLOT, LANE = $LANE_BITS, BLOCK = $BLOCK_BITS, BANKS = $BANKS;
  reg [$S_BITS-1:0] half;
  reg [$SHIFT_BITS-1:0] shift;
  reg binary, least, linear, logits;
  always @* begin
    half = 0; shift = 0; binary = 0; least = 0; linear = 0; logits = 0;
    case (gives)
$EMITS
    endcase
  end

  (* ram_style = "$STYLE" *) reg [$E_WIDTH-1:0] places [0:$E_DEPTH-1];
  (* ram_style = "$STYLE" *) reg [$C_WIDTH-1:0] channels [0:$C_DEPTH-1];  // first weight in the next layer; signs, limits
  (* ram_style = "$STYLE", no_rw_check *) reg [E*S-1:0] best [0:L/E-1];
  initial begin
    $readmemh("${UNIT}_places.hex", places);
    $readmemh("${UNIT}_channels.hex", channels);
  end
  localparam STILL = 3'd0, SEEK = 3'd1, ASK = 3'd2, WAIT = 3'd3, EMIT = 3'd4;
  reg [2:0] state;
  reg made, first;  // all events of this step are made; the first place of a pooling window
  reg [$E_ADDR-1:0] place;
  reg [$E_WIDTH-1:0] at;
  reg [LANE-1:0] lane, lane_1, lane_2, lane_3;
  reg valid_1, valid_2, valid_3;
  reg [$C_WIDTH-1:0] channel_1, channel_2;
  reg [W-1:0] w_3;
  reg [E*A-1:0] here;
  reg [E*S-1:0] best_3;
  wire [E*S-1:0] seen;
  wire [E*V-1:0] emitted;
  wire [BLOCK-1:0] at_block = at[P +: BLOCK];
  wire [LANE-1:0] at_lanes = at[P+BLOCK +: LANE];
  wire [Y+X-1:0] at_place = at[P+BLOCK+LANE +: Y+X];
  wire at_spare = at[P+BLOCK+LANE+Y+X], at_last = at[P+BLOCK+LANE+Y+X+1], at_keep = $KEEP, at_end = at[$E_WIDTH-1];
  wire quiet = !valid_1 && !valid_2 && !valid_3 && settled;
  wire lane_go = state == EMIT && (logits ? !valid_1 && !valid_2 && !out_valid : room);
  wire last_place = place == $E_DEPTH - 1;
  assign ask = state == ASK;
  assign at_a = at[P-1:0];
  assign wipe = arrives && (!at_keep || wiping);
  assign done = made && quiet && !out_valid;
  assign give = valid_3 && at_last && (emitted != 0 || DENSE);
  assign given = {$GIVEN_VALUES, at_place, w_3};

  genvar g;
  generate
    for (g = 0; g < E; g = g + 1) begin : slot
      ${UNIT}_state state_g (.clk(clk), .sum(here[g*A +: A]), .channel(channel_2[g*C +: C]), .first(first),
        .best(best_3[g*S +: S]), .half(half), .shift(shift), .binary(binary), .least(least), .linear(linear),
        .seen(seen[g*S +: S]), .emitted(emitted[g*V +: V]));
    end
  endgenerate

  always @(posedge clk) begin
    if (state == SEEK && quiet) begin
      at <= places[place];
      first <= at_last;
    end
    channel_1 <= channels[{at_block, lane} / E];
    lane_1 <= lane;
    here <= any;
    channel_2 <= channel_1;
    lane_2 <= lane_1;
    best_3 <= best[lane_2 / E];
    w_3 <= channel_2[E*C +: W];
    lane_3 <= lane_2;
    if (valid_3) best[lane_3 / E] <= seen;

    valid_1 <= lane_go && !reset;
    valid_2 <= valid_1 && !reset;
    valid_3 <= valid_2 && !logits && !reset;
    if (valid_2 && logits) begin
      out_valid <= 1;
      out_sum <= here[lane_2 % E * A +: A];
    end else if (out_ready) out_valid <= 0;
    if (out_valid && out_ready) out_index <= out_index + 1;

    if (arrives) begin
      lane <= 0;
      skip <= -2;
    end else if (lane_go) begin
      lane <= lane + (logits ? 1 : E);
      if (!logits || lane % E == E - 1) skip <= skip << 1 | 1;
    end

    case (state)
      STILL: if (wiping || (start && (!made || turn))) state <= SEEK;
      SEEK: if (quiet) state <= ASK;
      ASK: begin
        place <= last_place ? 0 : place + 1;
        state <= WAIT;
        if (wiping) begin
          state <= SEEK;
          if (last_place && (BANKS == 1 || wiped)) begin
            wiping <= 0;
            state <= STILL;
          end
        end
      end
      WAIT: if (arrives) begin
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
      if (logits) out_index <= 0;
    end
    if (wiping && ask && last_place) wiped <= !wiped;
    if (reset) begin
      state <= STILL; wiping <= 1; made <= 0; place <= 0; out_index <= 0; out_valid <= 0;
      wiped <= 0;
    end
  end
endmodule

// From a sum to the value of an event.
module ${UNIT}_state (
    input  wire clk,
    input  wire signed [$A-1:0] sum,
    input  wire [$SLOT-1:0] channel,  // sign, thresholds
    input  wire first,
    input  wire [$STATES-1:0] best,   // what was seen at the window's places so far
    input  wire [$S_BITS-1:0] half,
    input  wire [$SHIFT_BITS-1:0] shift,
    input  wire binary, least, linear,
    output reg  [$STATES-1:0] seen,
    output wire signed [$GIVEN_V-1:0] emitted
);
  localparam A = $A, S = $STATES;
  reg [S-1:0] seen_3;
  reg sign_3;
  reg [$S_BITS-1:0] count;
  integer i, k;
  always @(posedge clk) begin
    for (k = 0; k < S; k = k + 1) seen_3[k] <= sum >= $signed(channel[k*A +: A]);
    sign_3 <= channel[S*A];
  end
  always @* begin  // thresholds are ascending: the largest state of a pooling window is an OR, the smallest an AND
    seen = first ? seen_3 : least && sign_3 ? seen_3 & best : seen_3 | best;
    count = 0;
    for (i = 0; i < S; i = i + 1) count = count + seen[i];
  end
  wire signed [$S_BITS+1:0] above = {2'b0, count}, level = binary ? (above << 1) - 1 : above - $signed({2'b0, half});
  wire signed [$S_BITS+1:0] level_3 = sign_3 ? -level : level;
$EMITTED
endmodule

