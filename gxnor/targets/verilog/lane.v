// A lane: the sums of every so many-th output channel, of E events at a time. Nothing in it changes while it rests.
module ${NAME}_lane #(parameter E = 1, A = 8, V = 2, U = 2, O = 2, P = 8, DEPTH = 1, DENSE = 0) (
    input  wire clk,
    input  wire [2*E-1:0] weight,                // second cycle; for each event: down, and not 0
    input  wire [E-1:0] live,                    // which events are there
    input  wire busy,
    input  wire [P-1:0] from,
    input  wire [V+(E-1)*U-1:0] plus, minus,     // third: the events' values and their negatives
    input  wire clear, wipe,                     // a word that opens all lanes: the sum is kept, to be picked; 0 is left
    input  wire [P-1:0] to,                      // fourth
    input  wire skip,
    output reg  [A-1:0] picked
);
  (* ram_style = "$STYLE", no_rw_check *) reg [A-1:0] sums [0:DEPTH-1];
  reg [A-1:0] found, kept, sum, operand;
  reg opened, writes;
  reg [E-1:0] down, zero;
  wire [E-1:0] opens, downs;
  wire open = opens != 0 || (DENSE && busy);
  wire [A-1:0] result = sum + operand;
  wire [V-1:0] chosen = (DENSE || E > 1) && zero[0] ? {V{1'b0}} : down[0] ? minus[V-1:0] : plus[V-1:0];
  reg signed [O-1:0] total;
  integer i;
  always @* begin
    total = $signed(chosen);
    for (i = 1; i < E; i = i + 1)
      if (!zero[i]) total = total + $signed(down[i] ? minus[V+(i-1)*U +: U] : plus[V+(i-1)*U +: U]);
  end
  genvar g;
  generate
    for (g = 0; g < E; g = g + 1) begin : gate
      assign opens[g] = weight[2*g] && live[g];
      assign downs[g] = weight[2*g+1];
    end
  endgenerate
  always @(posedge clk) begin
    if (open) found <= sums[from];
    opened <= open;
    if (open) down <= downs;
    zero <= ~opens;
    if (wipe) sum <= 0;
    else if (opened) sum <= found;
    if (clear) operand <= 0;
    else if (opened) operand <= {{(A-O+1){total[O-1]}}, total[O-2:0]};
    writes <= opened;
    if (writes) sums[to] <= result;
    if (clear) kept <= found;
    picked <= skip ? {A{1'b0}} : kept;
  end
endmodule

// The weights of some lanes: of each lane and each event, down and not 0.
module ${NAME}_weights #(parameter BITS = 2, W = 8, WORDS = 1, CONTENTS = "$CONTENTS") (
    input  wire clk,
    input  wire [W-1:0] w,  // first cycle
    output reg  [BITS-1:0] word
);
  (* ram_style = "$STYLE" *) reg [BITS-1:0] words [0:WORDS-1];
  initial $readmemh(CONTENTS, words);
  always @(posedge clk) word <= words[w];
endmodule
`default_nettype wire
