// Reads an image by the network, prints the digit and the time that it took, and blinks the digit on the board's LED.
//
//     gxnor export RUN --to c -o digit --data mnist       and copy digit.c and digit.h beside this file
//     python ../../cortex-m/image.py seven.png > image.h
//
// For any 32-bit board: Arduino Zero, Nano 33, Uno R4, Portenta, Teensy, ESP32, RP2040.
#include "digit.h"
#include "image.h"

void setup() {
  Serial.begin(115200);
  pinMode(LED_BUILTIN, OUTPUT);
}

void loop() {
  unsigned long start = micros();
  int digit = digit_predict(image);
  unsigned long took = micros() - start;
  Serial.print("digit ");
  Serial.print(digit);
  Serial.print(", microseconds ");
  Serial.println(took);
  for (int i = 0; i < digit; i++) {
    digitalWrite(LED_BUILTIN, HIGH);
    delay(200);
    digitalWrite(LED_BUILTIN, LOW);
    delay(200);
  }
  delay(2000);
}
