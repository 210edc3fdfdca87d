"use strict";
// A zip of files that are stored as they are (APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16).

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

// little-endian numbers of 2 or 4 bytes, as [value, bytes]
function record(...numbers) {
  const made = new DataView(new ArrayBuffer(numbers.reduce((sum, [, size]) => sum + size, 0)));
  let at = 0;
  for (const [value, size] of numbers) {
    size === 2 ? made.setUint16(at, value, true) : made.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(made.buffer);
}

function zipOf(files) {
  const parts = [], index = [], names = new Set();
  let at = 0;
  for (const { name, bytes } of files) {
    let own = name.replace(/[\\/:]/g, "_");
    for (let k = 2; names.has(own); k++) own = name.replace(/(\.\w+)?$/, `-${k}$1`).replace(/[\\/:]/g, "_");
    names.add(own);
    const title = new TextEncoder().encode(own), crc = crc32(bytes);
    // version 2.0, names in UTF-8, stored, no time, 1 January 1980
    const same = [[20, 2], [0x800, 2], [0, 2], [0, 2], [33, 2], [crc, 4], [bytes.length, 4], [bytes.length, 4], [title.length, 2], [0, 2]];
    const head = record([0x04034b50, 4], ...same);
    parts.push(head, title, bytes);
    index.push(record([0x02014b50, 4], [20, 2], ...same, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]), title);
    at += head.length + title.length + bytes.length;
  }
  const size = index.reduce((sum, part) => sum + part.length, 0);
  const end = record([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [at, 4], [0, 2]);
  return new Blob([...parts, ...index, end], { type: "application/zip" });
}
