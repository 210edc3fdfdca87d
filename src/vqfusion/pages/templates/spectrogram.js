"use strict";
// A picture of a sound: time to the right, frequency upwards, louder is lighter.

const WINDOW = 512, COLUMNS = 480, RANGE_DB = 80;

// Fourier transform in place, length a power of two: Cooley, Tukey (1965)
function transform(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) { [real[i], real[j]] = [real[j], real[i]]; [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]]; }
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const c = Math.cos(-2 * Math.PI * k / size), s = Math.sin(-2 * Math.PI * k / size);
      for (let i = k; i < n; i += size) {
        const j = i + size / 2, x = real[j] * c - imaginary[j] * s, y = real[j] * s + imaginary[j] * c;
        real[j] = real[i] - x; imaginary[j] = imaginary[i] - y;
        real[i] += x; imaginary[i] += y;
      }
    }
  }
}

// canvas with the spectrogram of a sound, a Blob; hidden where the browser cannot decode it
async function spectrogramOf(blob, label) {
  const canvas = document.createElement("canvas");
  canvas.className = "spectrogram";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(await blob.arrayBuffer());
  } catch {
    canvas.hidden = true;
    return canvas;
  }
  const values = sound.getChannelData(0), bins = WINDOW / 2;
  const columns = Math.max(1, Math.min(COLUMNS, Math.floor(values.length / (WINDOW / 4))));
  const levels = new Float32Array(columns * bins);
  const real = new Float32Array(WINDOW), imaginary = new Float32Array(WINDOW);
  for (let column = 0; column < columns; column++) {
    const start = columns > 1 ? Math.floor(column * Math.max(0, values.length - WINDOW) / (columns - 1)) : 0;
    for (let i = 0; i < WINDOW; i++) real[i] = (values[start + i] ?? 0) * (0.5 - 0.5 * Math.cos(2 * Math.PI * i / WINDOW));
    imaginary.fill(0);
    transform(real, imaginary);
    for (let bin = 0; bin < bins; bin++) levels[column * bins + bin] = 20 * Math.log10(Math.hypot(real[bin], imaginary[bin]) + 1e-6);
  }
  const most = levels.reduce((a, b) => Math.max(a, b), -120);
  canvas.width = columns;
  canvas.height = bins;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, bins);
  levels.forEach((level, place) => {
    const light = 255 * Math.min(Math.max((level - most) / RANGE_DB + 1, 0), 1);
    const at = 4 * ((bins - 1 - place % bins) * columns + Math.floor(place / bins));
    image.data.set([light, light * 0.9, 60 + light * 0.6, 255], at);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}
