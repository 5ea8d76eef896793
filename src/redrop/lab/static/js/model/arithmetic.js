// The few operations of a transformer, on rows of numbers. Storage is float32, sums are float64.

/** y = x · Wᵀ + b for `rows` rows; W is (outputs, inputs) as in torch.nn.Linear. */
export function linear(x, rows, weight, bias) {
  const [outputs, inputs] = weight.shape, W = weight.data, y = new Float32Array(rows * outputs);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outputs; o++) {
      let sum = bias ? bias.data[o] : 0;
      for (let i = 0, a = r * inputs, b = o * inputs; i < inputs; i++) sum += x[a + i] * W[b + i];
      y[r * outputs + o] = sum;
    }
  }
  return y;
}

export function layerNorm(x, rows, weight, bias) {
  const width = weight.data.length, y = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * width, (r + 1) * width);
    let mean = 0, square = 0;
    for (const value of row) mean += value / width;
    for (const value of row) square += (value - mean) ** 2 / width;
    const factor = 1 / Math.sqrt(square + 1e-5); // torch.nn.LayerNorm's eps
    for (let i = 0; i < width; i++) y[r * width + i] = (row[i] - mean) * factor * weight.data[i] + bias.data[i];
  }
  return y;
}

/** x / sqrt(mean of x squared) · gain, for `rows` rows; eps as in redrop.models.norm. */
export function rmsNorm(x, rows, weight) {
  const width = weight.data.length, y = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * width, (r + 1) * width);
    let square = 0;
    for (const value of row) square += value ** 2 / width;
    const factor = 1 / Math.sqrt(square + 1e-5);
    for (let i = 0; i < width; i++) y[r * width + i] = row[i] * factor * weight.data[i];
  }
  return y;
}

/** erf to 1.5e-7: Abramowitz and Stegun, formula 7.1.26. */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}

export function gelu(x) {
  return x.map((value) => 0.5 * value * (1 + erf(value * Math.SQRT1_2)));
}

export function add(x, y) {
  return x.map((value, i) => value + y[i]);
}

/** Softmax of the first `length` numbers at `at`, in place. */
export function softmax(values, at, length) {
  let most = -Infinity, sum = 0;
  for (let i = 0; i < length; i++) most = Math.max(most, values[at + i]);
  for (let i = 0; i < length; i++) sum += values[at + i] = Math.exp(values[at + i] - most);
  for (let i = 0; i < length; i++) values[at + i] /= sum;
}
