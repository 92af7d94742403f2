// Whose turn it is in an engine with two banks of accumulators: it adds the next image to one while it emits the other.
module ${NAME}_turns #(parameter TAKES = 1, GIVES = 1, TAKES_BITS = 1, GIVES_BITS = 1) (
    input  wire clk, reset, wiping,
    input  wire taken,        // all events of the step that it adds are added
    input  wire turn,         // all events of the step that it emits are added by the engine that takes them
    output wire open, ready,  // it may add; it may emit
    output reg  [TAKES_BITS-1:0] takes,
    output reg  [GIVES_BITS-1:0] gives,
    output reg  takes_odd, gives_odd  // the banks
);
  reg [1:0] complete;  // images whose sums are complete and not yet emitted
  wire more = taken && takes == TAKES - 1, fewer = turn && gives == GIVES - 1;
  assign open = complete != 2 && !wiping;
  assign ready = complete != 0 && !turn;
  always @(posedge clk) begin
    if (taken) takes <= takes == TAKES - 1 ? 0 : takes + 1;
    if (turn) gives <= gives == GIVES - 1 ? 0 : gives + 1;
    if (more) takes_odd <= !takes_odd;
    if (fewer) gives_odd <= !gives_odd;
    complete <= complete + more - fewer;
    if (reset) begin
      takes <= 0; gives <= 0; takes_odd <= 0; gives_odd <= 0; complete <= 0;
    end
  end
endmodule

