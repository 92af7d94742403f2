// An engine: events in, accumulated by $LANES lanes; events of the sums out. `takes` is the step whose events are added,
// `gives` the one whose events are made.
module ${UNIT}_engine #(parameter DENSE = 0) (
    input  wire clk, reset,
    input  wire [$TAKES_BITS-1:0] takes,
    input  wire take,
    input  wire [$VE+$Y+$X+$W-1:0] taken,
    output wire room, settled, drained,
    input  wire [$GIVES_BITS-1:0] gives,
    input  wire start, turn, give_room, give_settled,
    output wire done, give, wiping,
    output wire [$GIVEN_BITS-1:0] given,
    input  wire takes_odd, gives_odd,  // of two banks of accumulators, which is added to, and which is emitted
    output wire [$CLASS_BITS-1:0] out_index,
    output wire signed [$A-1:0] out_sum,
    output wire out_valid,
    input  wire out_ready
);
  localparam E = $EVENTS, L = $LANES, A = $A, V = $V, U = $U, W = $W, BANKS = $BANKS, P = $P + BANKS - 1;
  localparam VE = V + (E-1)*U;  // bits of E values; only the first is ever a pixel of an image without colours

  // The lanes, in four cycles: weights are fetched; sums of lanes that open are fetched; operands are chosen; added and
  // written back. The words of weights begin with one that opens no lane and one that opens all, to take sums and clear.
  wire go, ask, walked, wiped, wipe;  // wipe: sums that are taken are cleared; else they are read once more
  wire [W-1:0] w;
  wire [$P-1:0] walk_a, at_a;
  wire [P-1:0] a = BANKS == 1 ? walk_a : {takes_odd, walk_a}, ask_a = BANKS == 1 ? at_a : {gives_odd || wiped, at_a};
  wire [VE-1:0] value;
  reg adds, adds_1, clears, clears_1, clears_2;
  reg [W-1:0] op_w;
  reg [P-1:0] op_a, a_from, a_then, a_to;
  reg [VE-1:0] op_value, value_1, plus, minus;
  reg [E-1:0] live_1;
  wire [E-1:0] live = E == 1 ? 1'b1 : live_1;                    // an event is never 0; of several, all but one may be
  wire hazard = (adds && op_a == a) || (adds_1 && a_from == a);  // these sums are not written yet
  assign drained = walked && !adds && !adds_1;
  always @(posedge clk) begin
    adds <= go && !reset;
    clears <= ask && !reset;
    op_w <= go ? w : 0;
    if (ask) op_w[0] <= 1;
    op_a <= ask ? ask_a : a;
    op_value <= value;
    adds_1 <= adds; clears_1 <= clears; a_from <= op_a; value_1 <= op_value;
    live_1 <= clears ? 1 : $LIVE;
    clears_2 <= clears_1; a_then <= a_from; plus <= value_1; minus <= $NEGATED;
    a_to <= a_then;
  end
  wire [L/E-1:0] skip;  // all but the lanes that are picked
  wire [2*E*L-1:0] weights;
$ALL_LANES
$PICKED

  ${UNIT}_walk walk (.clk(clk), .reset(reset), .takes(takes), .take(take), .taken(taken), .room(room), .settled(settled),
    .drained(walked), .hold(ask || hazard), .go(go), .w(w), .a(walk_a), .value(value));
  ${UNIT}_emit #(.DENSE(DENSE)) emit (.clk(clk), .reset(reset), .gives(gives), .start(start), .turn(turn), .room(give_room),
    .settled(give_settled), .done(done), .give(give), .given(given), .wiping(wiping), .ask(ask), .at_a(at_a),
    .arrives(clears_2), .wipe(wipe), .skip(skip), .any(any), .wiped(wiped),
    .out_index(out_index), .out_sum(out_sum), .out_valid(out_valid), .out_ready(out_ready));
endmodule

