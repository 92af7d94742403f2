// $NAME: a gated-XNOR network that works only where something happens.
//
$ABOUT
//
// A layer takes its input as events, each a place with $EVENT_MEANING,
// and has a word of accumulators for every output place and block of as many channels as its engine has lanes:
//
//    accumulate   for every event, every tap of the kernel that reaches an output, every block of channels:
//                 a lane whose weight is not 0 opens and adds or subtracts the value; all others rest
//    emit         for every output place: sums meet their thresholds, pools take the largest state, and what is not zero
//                 becomes an event of the next layer; accumulators are cleared as they are read for the last time
//
// Both run at the same time. The sums of the last layer leave by out_index and out_sum. A value that is added to another
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
    output wire [$CLASS_BITS-1:0] out_index,
    output wire signed [$A-1:0] out_sum,
    output wire out_valid,
    input  wire out_ready
);
$BODY
endmodule

// Where the input is: its values become events.
module ${NAME}_input #(parameter DENSE = 0) (
    input  wire clk, reset,
    input  wire [7:0] in_data,
    input  wire in_valid,
    output wire in_ready,
    input  wire open,   // an image may come, and events have room
    input  wire turn,   // all events of an image are added
    output reg  done,   // all events of an image are made
    output wire give,
    output wire [$IN_BITS-1:0] given
);
  localparam V = $IN_V, Y = $IN_Y, X = $IN_X, W = $IN_WEIGHT;
  reg [Y-1:0] in_y;
  reg [X-1:0] in_x;
  reg [W-1:0] in_w;
$INPUT_VALUE
  wire go = open && !done && (border || in_valid);
  assign in_ready = open && !done && !border;
  assign give = go && (border || in_data != 0 || DENSE);
  assign given = {in_values, in_y, in_x, in_w};
  always @(posedge clk) begin
    if (go) begin
      in_x <= in_x + 1;
      if (in_x == $IN_WIDTH - 1) begin
        in_x <= 0;
        in_y <= in_y + 1;
        if (in_y == $IN_HEIGHT - 1) begin
          in_y <= 0;
$INPUT_NEXT
        end
      end
    end
    if (turn) done <= 0;
    if (reset) begin
      done <= 0; in_y <= 0; in_x <= 0; in_w <= $IN_FIRST;$INPUT_RESET
    end
  end
endmodule

