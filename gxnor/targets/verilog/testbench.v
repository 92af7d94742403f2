// Sends images.hex through $NAME and compares the sums with sums.hex. Says how many cycles an image took, and how many cycles
// passed from one to the next; step by step, how many accumulators changed (with several events per cycle: how many weights
// met events), how many were written, and in how many of the cycles with an event at hand one added.
`timescale 1ns / 1ns
module testbench;
  parameter DENSE = 0;    // the circuit without its gates
  parameter STALL = 0;    // input and output hesitate, by a pattern; 2: the output for long
  parameter RESTART = 0;  // after that many cycles: a reset, and everything once more
  parameter TOGGLES = 0;  // count changes of bits, too
  parameter WAVES = 0;    // write waves.vcd
  parameter FIRST = 0;    // of the images to send
  parameter COUNT = $IMAGES - FIRST;  // how many to send
  localparam A = $A;
  reg clk = 0, reset = 1;
  reg [7:0] images [0:$IMAGES*$INPUTS-1];
  reg signed [A-1:0] sums [0:$IMAGES*$OUTPUTS-1];
  reg [7:0] in_data;
  reg in_valid = 0, out_ready = 0;
  wire in_ready, out_valid;
  wire [$CLASS_BITS-1:0] out_index;
  wire signed [A-1:0] out_sum;
  integer sent = 0, got = 0, wrong = 0, cycles = 0, first = 0, restarts = 0, i;
  integer fired [0:$STEPS-1], writes [0:$STEPS-1], adds [0:$STEPS-1], runs [0:$STEPS-1], emits [0:$STEPS-1];
  reg [63:0] read_bits [0:$STEPS-1], operand_bits [0:$STEPS-1], adder_bits [0:$STEPS-1], written_bits [0:$STEPS-1];
  reg [15:0] pattern = 16'hACE1;

  $NAME #(.DENSE(DENSE)) dut (clk, reset, in_data, in_valid, in_ready, out_index, out_sum, out_valid, out_ready);
  always #5 clk = ~clk;

  // Who follows the engines, and who watches their lanes.
$WATCHES

  task start;
    begin
      sent = 0; got = 0; cycles = 0;
      for (i = 0; i < $STEPS; i = i + 1) begin
        fired[i] = 0; writes[i] = 0; adds[i] = 0; runs[i] = 0; emits[i] = 0;
        read_bits[i] = 0; operand_bits[i] = 0; adder_bits[i] = 0; written_bits[i] = 0;
      end
    end
  endtask

  initial begin
    $readmemh("images.hex", images);
    $readmemh("sums.hex", sums);
    if (WAVES) begin
      $dumpfile("waves.vcd");
      $dumpvars(0, testbench);
    end
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
    in_valid = sent < COUNT*$INPUTS && (!STALL || pattern[0]);
    in_data = images[FIRST*$INPUTS + (sent < COUNT*$INPUTS ? sent : 0)];
    out_ready = STALL == 0 || (STALL == 1 ? pattern[3] : pattern[7:0] == 0);
  end

  always @(posedge clk) if (!reset) begin
    cycles = cycles + 1;
    if (in_valid && in_ready) sent = sent + 1;
    if (out_valid && out_ready) begin
      if (out_index != got % $OUTPUTS || out_sum !== sums[FIRST*$OUTPUTS + got]) begin
        wrong = wrong + 1;
        if (wrong < 10) $display("image %0d, class %0d: expected %0d, got %0d", FIRST + got / $OUTPUTS, out_index,
                                 sums[FIRST*$OUTPUTS + got], out_sum);
      end
      got = got + 1;
      if (got == $OUTPUTS) first = cycles;
      if (got == COUNT*$OUTPUTS) begin
        for (i = 0; i < $STEPS; i = i + 1) begin
          $display("step %0d: %0d lanes fired, %0d written, adding in %0d of %0d cycles, %0d cycles to emit",
                   i, fired[i], writes[i], adds[i], runs[i], emits[i]);
          if (TOGGLES) $display("step %0d: toggled bits: %0d of sums read, %0d of operands, %0d of adders, %0d of accumulators",
                                i, read_bits[i], operand_bits[i], adder_bits[i], written_bits[i]);
        end
        $display("%0s: %0d images, %0d wrong sums, %0d cycles per image, one every %0d", wrong ? "FAIL" : "PASS",
                 COUNT, wrong, cycles / COUNT, COUNT == 1 ? cycles : (cycles - first) / (COUNT - 1));
        $finish;
      end
    end
    if (cycles > 2000000000) begin
      $display("FAIL: no end after %0d cycles, %0d sums", cycles, got);
      $finish;
    end
  end
endmodule

// Follows an engine: counts its cycles, and knows to which step belongs what the lanes do in their fourth cycle.
module follow #(parameter SHARED = 1, FIRST = 0, LAST = 0, TAKES_BITS = 1, GIVES_BITS = 1, P = 1) (
    input wire clk, reset,
    input wire [TAKES_BITS-1:0] takes,
    input wire [GIVES_BITS-1:0] gives,
    input wire wiping, adds_1, clears_1, clears_2,
    input wire [P-1:0] from, to,
    input wire go, idle,
    input wire [2:0] state,
    output wire watching,
    output reg clears_3,
    output wire clash,
    output wire signed [31:0] at
);
  integer takes_1 = 0, takes_2 = 0, takes_3 = 0, gives_1 = 0, gives_2 = 0, gives_3 = 0;
  wire signed [31:0] taking = FIRST + takes, giving = SHARED ? gives - 1 : LAST;  // sums count for the last step into them
  assign at = clears_3 ? gives_3 : takes_3;
  assign watching = !reset && at >= 0 && at < $STEPS && !wiping;
  reg [2:0] wiped;  // words may be cleared twice after a reset, also while the last clears are under way
  assign clash = !reset && !wiping && wiped == 0 && (adds_1 || clears_1) && from == to;
  always @(posedge clk) begin
    clears_3 <= clears_2;
    wiped <= {wiped, wiping};
    takes_3 <= takes_2; takes_2 <= takes_1; takes_1 <= taking;
    gives_3 <= gives_2; gives_2 <= gives_1; gives_1 <= giving;
    if (!reset && !wiping) begin
      if (!idle) testbench.runs[taking] = testbench.runs[taking] + 1;
      if (go) testbench.adds[taking] = testbench.adds[taking] + 1;
      if (state != 0) testbench.emits[giving] = testbench.emits[giving] + 1;
    end
  end
endmodule

// Watches a lane: adds what it does to the testbench's counts, and sees to it that a lane at rest keeps its wires still.
module watch #(parameter A = 8, E = 1) (
    input wire clk, watching, clears_3, clash,
    input wire signed [31:0] at,
    input wire [A-1:0] found, sum, operand, result,
    input wire opened, writes,
    input wire [E-1:0] zero
);
  reg [A-1:0] found_1 = 0, sum_1 = 0, operand_1 = 0, result_1 = 0;
  reg [E-1:0] gates = 0;

  function [63:0] ones(input [A-1:0] word);
    for (ones = 0; word != 0; word = word & (word - 1)) ones = ones + 1;
  endfunction

  wire moved = sum != sum_1 || operand != operand_1;
  always @(posedge clk) begin
    gates <= opened ? ~zero : 0;
    if (writes) begin
      if (clash) begin
        $display("accumulators are read and written in the same cycle");
        testbench.wrong = testbench.wrong + 1;
      end
      if (watching) begin
        testbench.writes[at] = testbench.writes[at] + 1;
        if (!clears_3) testbench.fired[at] = testbench.fired[at] + (E == 1 ? result != sum : ones(gates));
        if (!clears_3 && gates == 0 && !testbench.DENSE) begin
          $display("an accumulator is written without an event");
          testbench.wrong = testbench.wrong + 1;
        end
      end
    end
    if (moved) begin
      sum_1 <= sum;
      operand_1 <= operand;
      if (!writes && watching) begin
        $display("a lane rests, but its sum or its operand toggles");
        testbench.wrong = testbench.wrong + 1;
      end
    end
    if (testbench.TOGGLES) begin
      found_1 <= found;
      result_1 <= result;
      if (watching) begin
        testbench.read_bits[at] = testbench.read_bits[at] + ones(found ^ found_1);
        testbench.operand_bits[at] = testbench.operand_bits[at] + ones(operand ^ operand_1);
        testbench.adder_bits[at] = testbench.adder_bits[at] + ones(result ^ result_1);
        if (writes) testbench.written_bits[at] = testbench.written_bits[at] + ones(result ^ found_1);
      end
    end
  end
endmodule
