// A small writer of Parquet files: one row group, no compression, optional columns of doubles and of UTF-8 texts.
// Format: "File Format" of the Apache Parquet documentation, its metadata in Thrift's compact protocol.

class Bytes {
  constructor() { this.parts = []; this.length = 0; }
  add(bytes) { this.parts.push(Uint8Array.from(bytes)); this.length += bytes.length; return this; }
  varint(n) {
    const out = [];
    for (; n >= 128; n = Math.floor(n / 128)) out.push((n % 128) | 128);
    return this.add([...out, n]);
  }
  int32(n) { return this.add([n & 255, (n >> 8) & 255, (n >> 16) & 255, (n >>> 24) & 255]); }
  joined() {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) { all.set(part, at); at += part.length; }
    return all;
  }
}

// Thrift's compact protocol: a struct is [[field, kind, value], ...] in ascending order of fields.
const KINDS = { i32: 5, i64: 6, text: 8, list: 9, struct: 12 };

function thrift(out, kind, value) {
  if (kind === "i32" || kind === "i64") return out.varint(value * 2); // none is negative
  if (kind === "text") {
    const bytes = new TextEncoder().encode(value);
    return out.varint(bytes.length).add(bytes);
  }
  if (kind === "list") {
    const [of, items] = value;
    if (items.length < 15) out.add([(items.length << 4) | KINDS[of]]);
    else out.add([0xf0 | KINDS[of]]).varint(items.length);
    for (const item of items) thrift(out, of, item);
    return out;
  }
  let last = 0;
  for (const [field, of, inner] of value) {
    out.add([((field - last) << 4) | KINDS[of]]);
    thrift(out, of, inner);
    last = field;
  }
  return out.add([0]);
}

// Which values are there: runs of the hybrid encoding, one bit wide, behind their length.
function definitions(values) {
  const runs = new Bytes();
  for (let from = 0, to; from < values.length; from = to) {
    for (to = from + 1; to < values.length && (values[to] === null) === (values[from] === null);) to++;
    runs.varint((to - from) * 2).add([values[from] === null ? 0 : 1]);
  }
  return new Bytes().int32(runs.length).add(runs.joined());
}

function columnPage(values, isNumber) {
  const page = definitions(values), known = values.filter((value) => value !== null);
  if (isNumber) {
    const numbers = new DataView(new ArrayBuffer(8 * known.length));
    known.forEach((value, i) => numbers.setFloat64(8 * i, value, true));
    page.add(new Uint8Array(numbers.buffer));
  } else {
    for (const value of known) {
      const bytes = new TextEncoder().encode(value);
      page.int32(bytes.length).add(bytes);
    }
  }
  return page.joined();
}

const PLAIN = 0, RLE = 3, DOUBLE = 5, BYTE_ARRAY = 6, OPTIONAL = 1, UTF8 = 0;

function parquetOf({ columns, values }) {
  const file = new Bytes().add(new TextEncoder().encode("PAR1")), chunks = [], length = values.length ? values[0].length : 0;
  columns.forEach(({ name, isNumber }, k) => {
    const page = columnPage(values[k], isNumber), header = new Bytes(), offset = file.length;
    thrift(header, "struct", [[1, "i32", 0], [2, "i32", page.length], [3, "i32", page.length],
      [5, "struct", [[1, "i32", length], [2, "i32", PLAIN], [3, "i32", RLE], [4, "i32", RLE]]]]);
    file.add(header.joined()).add(page);
    const size = file.length - offset;
    chunks.push([[2, "i64", offset], [3, "struct", [[1, "i32", isNumber ? DOUBLE : BYTE_ARRAY], [2, "list", ["i32", [PLAIN, RLE]]],
      [3, "list", ["text", [name]]], [4, "i32", 0], [5, "i64", length], [6, "i64", size], [7, "i64", size], [9, "i64", offset]]]]);
  });
  const schema = [[[4, "text", "schema"], [5, "i32", columns.length]],
    ...columns.map(({ name, isNumber }) => [[1, "i32", isNumber ? DOUBLE : BYTE_ARRAY], [3, "i32", OPTIONAL], [4, "text", name],
      ...(isNumber ? [] : [[6, "i32", UTF8]])])];
  const start = file.length, group = [[1, "list", ["struct", chunks]], [2, "i64", start - 4], [3, "i64", length]];
  thrift(file, "struct", [[1, "i32", 1], [2, "list", ["struct", schema]], [3, "i64", length],
    [4, "list", ["struct", [group]]], [6, "text", "midef dashboard"]]);
  return file.int32(file.length - start).add(new TextEncoder().encode("PAR1")).joined();
}
