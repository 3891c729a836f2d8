/* Reads the volumes of a case: mosaics of slices to bytes, outlines of label maps, and the colours of what lies over. */

/* Decodes a mosaic into bytes, X fastest. Labels are multiples of `scale`, so that rounding heals a changed byte. */
async function decoded(data, layer) {
  const bytes = Uint8Array.from(atob(layer.source), (letter) => letter.charCodeAt(0));
  const as = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const picture = await createImageBitmap(new Blob([bytes], { type: layer.type }), as);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const [nx, ny, nz] = data.shape;
  const volume = new Uint8Array(nx * ny * nz);
  for (let z = 0, at = 0; z < nz; z += 1) {
    const left = (z % data.columns) * nx, top = Math.floor(z / data.columns) * ny;
    for (let y = 0; y < ny; y += 1) {
      let from = 4 * ((top + y) * canvas.width + left);
      for (let x = 0; x < nx; x += 1, from += 4, at += 1) volume[at] = pixels[from];
    }
  }
  if (layer.kind === "labels") for (let i = 0; i < volume.length; i += 1) volume[i] = Math.round(volume[i] / layer.scale);
  else for (let i = 0; i < volume.length; i += 1) if (volume[i] < layer.least) volume[i] = 0;
  return volume;
}

/* Keeps the voxels of a label map that touch another label: an outline in every plane. */
function shell([nx, ny, nz], labels) {
  const out = new Uint8Array(labels.length), up = nx * ny;
  for (let z = 0, i = 0; z < nz; z += 1) for (let y = 0; y < ny; y += 1) for (let x = 0; x < nx; x += 1, i += 1) {
    const own = labels[i];
    if (own && (x === 0 || x === nx - 1 || y === 0 || y === ny - 1 || z === 0 || z === nz - 1
      || labels[i - 1] !== own || labels[i + 1] !== own || labels[i - nx] !== own || labels[i + nx] !== own
      || labels[i - up] !== own || labels[i + up] !== own)) out[i] = own;
  }
  return out;
}

/* Returns red, green, blue, alpha of each of the 256 values of a layer that lies over the image. */
function palette(data, layer) {
  const table = new Uint8Array(4 * 256);
  if (layer.kind === "labels") {
    for (const label of data.labels) table.set([...label.rgb, 255], 4 * label.value);
    return table;
  }
  for (let value = layer.least; value < 256; value += 1) {
    const share = value / 255;
    const rgb = layer.from.map((low, channel) => Math.round(low + share * (layer.to[channel] - low)));
    table.set([...rgb, 255], 4 * value);
  }
  return table;
}
