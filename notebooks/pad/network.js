// The lesson's network in plain JavaScript. Pictures and responses are { side, values }: squares by
// row, column, channel. A dense layer is a convolution with filters as large as its input, so that
// one function does for all four layers with weights.
function convolve({ side, values }, [kernel, bias]) {
  const filters = bias.length;
  const depth = values.length / side ** 2;
  const size = Math.sqrt(kernel.length / filters / depth);
  const places = side - size + 1;
  const result = new Float32Array(places ** 2 * filters);
  for (let place = 0; place < places ** 2; place++) {
    const sums = result.subarray(place * filters, (place + 1) * filters);
    const corner = Math.floor(place / places) * side + (place % places);
    sums.set(bias);
    for (let y = 0, weight = 0; y < size; y++) {
      const row = (corner + y * side) * depth;
      for (let x = 0; x < size * depth; x++, weight += filters) {
        const value = values[row + x];
        if (value === 0) continue; // many are, and this saves half of the time
        for (let n = 0; n < filters; n++) sums[n] += value * kernel[weight + n];
      }
    }
  }
  return { side: places, values: result };
}

const relu = ({ side, values }) => ({ side, values: values.map((value) => Math.max(value, 0)) });

// The largest value of each 2x2 square.
function pool({ side, values }) {
  const depth = values.length / side ** 2;
  const half = Math.floor(side / 2);
  const result = new Float32Array(half ** 2 * depth);
  for (let n = 0; n < result.length; n++) {
    const place = Math.floor(n / depth);
    const at = 2 * depth * (Math.floor(place / half) * side + (place % half)) + (n % depth);
    const below = at + side * depth;
    result[n] = Math.max(values[at], values[at + depth], values[below], values[below + depth]);
  }
  return { side: half, values: result };
}

// The first layer's responses to 784 pixels, 0 to 1; the digits' probabilities, and the answer.
function predict(weights, pixels) {
  const [first, second, dense, last] = [0, 2, 4, 6].map((n) => weights.slice(n, n + 2));
  const responses = relu(convolve({ side: 28, values: pixels }, first));
  const features = pool(relu(convolve(pool(responses), second)));
  const { values } = convolve(relu(convolve(features, dense)), last);
  const odds = Array.from(values, (value) => Math.exp(value - Math.max(...values)));
  const sum = odds.reduce((a, b) => a + b);
  const probabilities = odds.map((value) => value / sum);
  return { responses, probabilities, answer: odds.indexOf(Math.max(...odds)) };
}

// Weights come as kernel, bias, ...: whole numbers of 8 or 16 bits, compressed, and a scale.
async function unpack({ bits, scale, bytes }) {
  const blob = new Blob([Uint8Array.from(atob(bytes), (byte) => byte.charCodeAt())]);
  const stream = blob.stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const whole = bits === 8 ? new Int8Array(buffer) : new Int16Array(buffer);
  return Float32Array.from(whole, (value) => scale * value);
}
