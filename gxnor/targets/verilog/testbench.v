// Sends images.hex through $NAME and compares the sums with sums.hex. Says how many cycles an image took and, layer by
// layer, how many lanes fired (changes of an accumulator while events are worked on) and in how many cycles.
`timescale 1ns / 1ns
module testbench;
  parameter DENSE = 0;    // the circuit without its gates
  parameter STALL = 0;    // input and output hesitate, by a pattern
  parameter RESTART = 0;  // after that many cycles: a reset, and everything once more
  parameter TOGGLES = 0;  // count changes of bits, too: of the lanes' operands, of their sums, and of what is written
  reg clk = 0, reset = 1;
  reg [7:0] images [0:$IMAGES*$INPUTS-1];
  reg signed [$A-1:0] sums [0:$IMAGES*$OUTPUTS-1];
  reg [7:0] in_data;
  reg in_valid = 0, out_ready = 0;
  wire in_ready, out_valid;
  wire [$CLASS_BITS-1:0] out_index;
  wire signed [$A-1:0] out_sum;
  integer sent = 0, got = 0, wrong = 0, cycles = 0, restarts = 0, i;
  integer fired [0:$LAYERS-1], adds [0:$LAYERS-1], runs [0:$LAYERS-1], emits [0:$LAYERS-1];
  reg [63:0] operand_bits [0:$LAYERS-1], sum_bits [0:$LAYERS-1], written_bits [0:$LAYERS-1];
  reg [$LANES*$A-1:0] operands, sum;
  reg [15:0] pattern = 16'hACE1;

  $NAME #(.DENSE(DENSE)) dut (clk, reset, in_data, in_valid, in_ready, out_index, out_sum, out_valid, out_ready);
  always #5 clk = ~clk;

  function integer ones(input [$LANES*$A-1:0] word);
`ifdef VERILATOR
    ones = $countones(word);
`else
    integer k;
    begin
      ones = 0;
      for (k = 0; k < $LANES*$A; k = k + 1) ones = ones + word[k];
    end
`endif
  endfunction

  task start;
    begin
      sent = 0; got = 0; cycles = 0; operands = 0; sum = 0;
      for (i = 0; i < $LAYERS; i = i + 1) begin
        fired[i] = 0; adds[i] = 0; runs[i] = 0; emits[i] = 0;
        operand_bits[i] = 0; sum_bits[i] = 0; written_bits[i] = 0;
      end
    end
  endtask

  initial begin
    $readmemh("images.hex", images);
    $readmemh("sums.hex", sums);
    start;
    repeat (4) @(negedge clk);
    reset = 0;
  end

  always @(negedge clk) begin
    if (reset && restarts != 0) reset = 0;
    else if (!reset && cycles == RESTART && restarts == 0 && RESTART != 0) begin
      reset = 1;
      restarts = 1;
      start;
    end
    pattern = {pattern[14:0], pattern[15] ^ pattern[13] ^ pattern[12] ^ pattern[10]};
    in_valid = sent < $IMAGES*$INPUTS && (!STALL || pattern[0]);
    in_data = images[sent < $IMAGES*$INPUTS ? sent : 0];
    out_ready = !STALL || pattern[3];
  end

  always @(posedge clk) if (!reset) begin
    cycles = cycles + 1;
    if (in_valid && in_ready) sent = sent + 1;
    if (dut.state == dut.RUN) runs[dut.layer] = runs[dut.layer] + 1;
    if (dut.state > dut.RUN) emits[dut.layer] = emits[dut.layer] + 1;
    if (dut.a_write && dut.a_to == dut.a_from && (dut.reading || dut.state == dut.WORD)) begin
      if (wrong < 10) $display("the accumulators of %0d are read and written in the same cycle", dut.a_to);
      wrong = wrong + 1;
    end
    if (dut.adding) begin
      adds[dut.layer] = adds[dut.layer] + 1;
      for (i = 0; i < $LANES; i = i + 1)
        if (dut.result[i*$A +: $A] != dut.sum[i*$A +: $A]) fired[dut.layer] = fired[dut.layer] + 1;
      if (TOGGLES) written_bits[dut.layer] = written_bits[dut.layer] + ones(dut.result ^ dut.sum);
    end
    if (TOGGLES) begin
      operand_bits[dut.layer] = operand_bits[dut.layer] + ones(dut.operands ^ operands);
      sum_bits[dut.layer] = sum_bits[dut.layer] + ones(dut.sum ^ sum);
      operands = dut.operands;
      sum = dut.sum;
    end
    if (out_valid && out_ready) begin
      if (out_index != got % $OUTPUTS || out_sum !== sums[got]) begin
        wrong = wrong + 1;
        if (wrong < 10) $display("image %0d, class %0d: expected %0d, got %0d", got / $OUTPUTS, out_index, sums[got], out_sum);
      end
      got = got + 1;
      if (got == $IMAGES*$OUTPUTS) begin
        for (i = 0; i < $LAYERS; i = i + 1) begin
          $display("layer %0d: %0d lanes fired, adding in %0d of %0d cycles, %0d cycles to emit",
                   i, fired[i], adds[i], runs[i], emits[i]);
          if (TOGGLES) $display("layer %0d: toggled bits: %0d of operands, %0d of sums read, %0d of accumulators",
                                i, operand_bits[i], sum_bits[i], written_bits[i]);
        end
        $display("%0s: %0d images, %0d wrong sums, %0d cycles per image", wrong ? "FAIL" : "PASS", $IMAGES, wrong, cycles / $IMAGES);
        $finish;
      end
    end
    if (cycles > 2000000000) begin
      $display("FAIL: no end after %0d cycles, %0d sums", cycles, got);
      $finish;
    end
  end
endmodule
