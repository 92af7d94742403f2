/* The MNIST network 32C5-MP2-64C5-MP2-512FC-10 in int8 by CMSIS-NN. Its weights are noise: the instructions do not depend on
 * them. */
#include <stdint.h>

#include "arm_nnfunctions.h"
#include "noise.h"

void leave(int32_t code);

static int8_t wide[24 * 24 * 32], narrow[12 * 12 * 32]; /* layers read from one and write to the other */
static int8_t buffer[BUFFER];

static void convolve(const cmsis_nn_dims *in, const int8_t *from, const cmsis_nn_dims *filter, const int8_t *weights,
                     const cmsis_nn_dims *out, int8_t *to)
{
    const cmsis_nn_context context = {buffer, sizeof buffer};
    const cmsis_nn_conv_params how = {128, -128, {1, 1}, {0, 0}, {1, 1}, {-128, 127}};
    const cmsis_nn_per_channel_quant_params scale = {(int32_t *)(uintptr_t)multipliers, (int32_t *)(uintptr_t)shifts};
    const cmsis_nn_dims bias = {1, 1, 1, out->c};
    if (arm_convolve_wrapper_s8_get_buffer_size(&how, in, filter, out) > BUFFER) {
        leave(1);
    }
    if (arm_convolve_wrapper_s8(&context, &how, &scale, in, from, filter, weights, &bias, biases, out, to) != 0) {
        leave(1);
    }
}

static void pool(const cmsis_nn_dims *in, const int8_t *from, const cmsis_nn_dims *out, int8_t *to)
{
    const cmsis_nn_context context = {buffer, sizeof buffer};
    const cmsis_nn_pool_params how = {{2, 2}, {0, 0}, {-128, 127}};
    const cmsis_nn_dims filter = {1, 2, 2, 1};
    if (arm_max_pool_s8(&context, &how, in, from, &filter, out, to) != 0) {
        leave(1);
    }
}

static void connect(int32_t inputs, const int8_t *from, const int8_t *weights, int32_t outputs, int8_t *to)
{
    const cmsis_nn_context context = {buffer, sizeof buffer};
    const cmsis_nn_fc_params how = {128, 0, -128, {-128, 127}};
    const cmsis_nn_per_tensor_quant_params scale = {1 << 30, -8};
    const cmsis_nn_dims in = {1, 1, 1, inputs}, filter = {inputs, 1, 1, outputs}, out = {1, 1, 1, outputs};
    if (arm_fully_connected_s8_get_buffer_size(&filter) > BUFFER) {
        leave(1);
    }
    if (arm_fully_connected_s8(&context, &how, &scale, &in, from, &filter, weights, &out, biases, &out, to) != 0) {
        leave(1);
    }
}

int main(void)
{
    const cmsis_nn_dims a = {1, 28, 28, 1}, b = {1, 24, 24, 32}, c = {1, 12, 12, 32}, d = {1, 8, 8, 64}, e = {1, 4, 4, 64};
    const cmsis_nn_dims first = {32, 5, 5, 1}, second = {64, 5, 5, 32};
    int32_t i;
    for (i = 0; i < IMAGES; i++) {
        convolve(&a, image, &first, weights_1, &b, wide);
        pool(&b, wide, &c, narrow);
        convolve(&c, narrow, &second, weights_2, &d, wide);
        pool(&d, wide, &e, narrow);
        connect(1024, narrow, weights_3, 512, wide);
        connect(512, wide, weights_4, 10, narrow);
    }
    leave(0);
    return 0;
}
