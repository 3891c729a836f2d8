/* Places of voxels in mm, and the plain viewer: three planes drawn by this file alone. */

const AXES = ["sagittal", "coronal", "axial"];

const inverse = (affine) => {
  const [[a, b, c, p], [d, e, f, q], [g, h, i, r]] = affine;
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  const rows = [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d]].map((row) => row.map((value) => value / det));
  return rows.map((row) => [...row, -(row[0] * p + row[1] * q + row[2] * r)]);
};
/* The patient's sides at the left and right of a picture across which an axis of voxels runs, backwards: the side that
   the axis runs to most of all comes first. */
const sides = (affine, axis) => {
  const way = affine.map((row) => row[axis]), sizes = way.map(Math.abs), most = sizes.indexOf(Math.max(...sizes));
  return way[most] > 0 ? ["RL", "AP", "SI"][most] : ["LR", "PA", "IS"][most];
};
const applied = (affine, [x, y, z]) => affine.map((row) => row[0] * x + row[1] * y + row[2] * z + row[3]);

class Planes {
  constructor(box, model) {
    this.model = model;
    this.canvases = AXES.map((name, axis) => {
      const canvas = box.querySelector(`canvas[data-plane="${name}"]`);
      const point = (event) => this.pointed(axis, canvas, event);
      canvas.hidden = false;
      canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(event); });
      canvas.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
      return canvas;
    });
    box.querySelector(".viewer-screens").classList.add("plain");
    window.addEventListener("resize", () => this.show());
  }

  /* The two axes that a plane shows: across, with the patient's right (or front) on the left, and down from above. */
  across(axis) { return axis ? 0 : 1; } down(axis) { return axis === 2 ? 1 : 2; }

  pointed(axis, canvas, event) {
    const { shape } = this.model.data, frame = canvas.getBoundingClientRect();
    const [u, v] = [this.across(axis), this.down(axis)], vox = [...this.model.vox];
    vox[u] = Math.floor(shape[u] * (1 - (event.clientX - frame.left) / frame.width));
    vox[v] = Math.floor(shape[v] * (1 - (event.clientY - frame.top) / frame.height));
    this.model.move(vox);
  }

  show() { this.canvases.forEach((canvas, axis) => this.draw(canvas, axis)); }
  draw(canvas, axis) {
    const { data, vox } = this.model, u = this.across(axis), v = this.down(axis), [w, h] = [data.shape[u], data.shape[v]];
    canvas.style.setProperty("--ratio", (w * data.spacing_mm[u]) / (h * data.spacing_mm[v]));
    const dense = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * dense));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * dense));
    const slice = new OffscreenCanvas(w, h);
    slice.getContext("2d").putImageData(this.pixels(axis, u, v, w, h), 0, 0);
    const context = canvas.getContext("2d");
    Object.assign(context, { imageSmoothingEnabled: false }).drawImage(slice, 0, 0, canvas.width, canvas.height);
    this.cross(context, canvas.width * (w - 0.5 - vox[u]) / w, canvas.height * (h - 0.5 - vox[v]) / h, dense);
    this.sides(context, sides(data.affine, u), dense);
  }

  /* Writes at the left and right edges which side of the patient is there. */
  sides(context, letters, dense) {
    const { width, height } = context.canvas, edge = 6 * dense;
    Object.assign(context, { font: `600 ${13 * dense}px sans-serif`, fillStyle: "#fff", textBaseline: "middle" });
    for (const [letter, x, textAlign] of [[letters[0], edge, "left"], [letters[1], width - edge, "right"]])
      Object.assign(context, { textAlign }).fillText(letter, x, height / 2);
  }

  /* Returns a slice with what lies over it, the patient's right (or front) on the left and the top above. */
  pixels(axis, u, v, w, h) {
    const { data, vox, image } = this.model, strides = [1, data.shape[0], data.shape[0] * data.shape[1]];
    const out = new ImageData(w, h), base = vox[axis] * strides[axis], over = this.model.shown()
      .map((layer) => ({ ...layer, opacity: this.model.opacity(layer) }));
    for (let row = 0, to = 0; row < h; row += 1) {
      for (let column = 0; column < w; column += 1, to += 4) {
        const at = base + (w - 1 - column) * strides[u] + (h - 1 - row) * strides[v];
        let red = image[at], green = red, blue = red;
        for (const { volume, table, opacity } of over) {
          const entry = 4 * volume[at];
          if (table[entry + 3] === 0) continue;
          red += opacity * (table[entry] - red);
          green += opacity * (table[entry + 1] - green);
          blue += opacity * (table[entry + 2] - blue);
        }
        out.data.set([red, green, blue, 255], to);
      }
    }
    return out;
  }

  /* Draws the crosshair, with a gap around the place itself. */
  cross(context, x, y, dense) {
    const gap = 12 * dense, { width, height } = context.canvas;
    Object.assign(context, { strokeStyle: "rgb(230 60 60)", lineWidth: dense }).beginPath();
    const lines = [[[0, y], [x - gap, y]], [[x + gap, y], [width, y]], [[x, 0], [x, y - gap]], [[x, y + gap], [x, height]]];
    for (const [from, to] of lines) { context.moveTo(...from); context.lineTo(...to); }
    context.stroke();
  }
}
