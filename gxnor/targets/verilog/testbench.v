// Sends images.hex through $NAME and compares the sums with sums.hex. Says how many cycles an image took, and how many
// lanes fired: changes of an accumulator while events are worked on.
`timescale 1ns / 1ns
module testbench;
  parameter DENSE = 0, STALL = 0;  // STALL: input and output hesitate, by a pattern
  reg clk = 0, reset = 1;
  reg [7:0] images [0:$IMAGES*$INPUTS-1];
  reg signed [$A-1:0] sums [0:$IMAGES*$OUTPUTS-1];
  reg [7:0] in_data;
  reg in_valid = 0, out_ready = 0;
  wire in_ready, out_valid;
  wire [$CLASS_BITS-1:0] out_index;
  wire signed [$A-1:0] out_sum;
  integer sent = 0, got = 0, wrong = 0, cycles = 0, i;
  integer fired = 0, clears = 0, busy = 0;
  reg [15:0] pattern = 16'hACE1;

  $NAME #(.DENSE(DENSE)) dut (clk, reset, in_data, in_valid, in_ready, out_index, out_sum, out_valid, out_ready);
  always #5 clk = ~clk;

  initial begin
    $readmemh("images.hex", images);
    $readmemh("sums.hex", sums);
    repeat (4) @(negedge clk);
    reset = 0;
  end

  always @(negedge clk) if (!reset) begin
    pattern = {pattern[14:0], pattern[15] ^ pattern[13] ^ pattern[12] ^ pattern[10]};
    in_valid = sent < $IMAGES*$INPUTS && (!STALL || pattern[0]);
    in_data = images[sent < $IMAGES*$INPUTS ? sent : 0];
    out_ready = !STALL || pattern[3];
  end

  always @(posedge clk) if (!reset) begin
    cycles = cycles + 1;
    if (in_valid && in_ready) sent = sent + 1;
    if (dut.adding) begin
      busy = busy + 1;
      for (i = 0; i < $LANES; i = i + 1)
        if (dut.result[i*$A +: $A] != dut.sum[i*$A +: $A]) fired = fired + 1;
    end
    if (out_valid && out_ready) begin
      if (out_index != got % $OUTPUTS || out_sum !== sums[got]) begin
        wrong = wrong + 1;
        if (wrong < 10) $display("image %0d, class %0d: expected %0d, got %0d", got / $OUTPUTS, out_index, sums[got], out_sum);
      end
      got = got + 1;
      if (got == $IMAGES*$OUTPUTS) begin
        $display("%0s: %0d images, %0d wrong sums, %0d cycles per image, %0d lanes fired per image, accumulating in %0d cycles",
                 wrong ? "FAIL" : "PASS", $IMAGES, wrong, cycles / $IMAGES, fired / $IMAGES, busy / $IMAGES);
        $finish;
      end
    end
    if (cycles > 400000000) begin
      $display("FAIL: no end after %0d cycles, %0d sums", cycles, got);
      $finish;
    end
  end
endmodule
