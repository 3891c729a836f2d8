/* Shows a case in three planes: by NiiVue where it is loaded and WebGL2 works, else by the plain planes of this file.

The page holds the volumes as mosaics of their axial slices, base64, in the element of class "case-data". Everything is
on one grid of voxels in RAS order; "affine" maps its indices to mm. Nothing is loaded from anywhere else. */
"use strict";

(() => {
  const AXES = ["sagittal", "coronal", "axial"];
  const AWAY = 8; // voxels by which Page Up and Page Down move with Shift

  /* ---------------------------------------------------------------- volumes */

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

  /* ---------------------------------------------------------------- plain planes */

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

  /* ---------------------------------------------------------------- NiiVue */

  const webgl2 = () => {
    const context = document.createElement("canvas").getContext("webgl2");
    context?.getExtension("WEBGL_lose_context")?.loseContext();
    return context !== null;
  };

  class Nii {
    static async on(box, model) {
      const canvas = box.querySelector("canvas[data-plane=all]");
      canvas.parentElement.hidden = false; // NiiVue makes a canvas as large as what holds it
      const own = new Nii(model);
      own.nv = new window.niivue.Niivue({
        backColor: [0, 0, 0, 1], crosshairColor: [0.9, 0.24, 0.24, 1], crosshairWidth: 0.2, crosshairWidthUnit: "percent", crosshairGap: 6,
        isRadiologicalConvention: true, sagittalNoseLeft: true, showAllOrientationMarkers: true, isNearestInterpolation: true, multiplanarShowRender: 0, dragAndDropEnabled: false,
        scrollRequiresFocus: true, showLegend: false, loadingText: "", logLevel: "silent", isForceMouseClickToVoxelCenters: true,
      });
      await own.nv.attachToCanvas(canvas);
      await own.add("image", model.image, 1, 0);
      own.nv.onLocationChange = () => own.moved();
      return own;
    }

    constructor(model) { [this.model, this.ids] = [model, []]; }

    /* Adds a volume without drawing it: NiiVue's own way draws all of them anew for each. */
    async add(id, bytes, opacity, at) {
      const { data } = this.model, { nv } = this, affine = [...data.affine.flat(), 0, 0, 0, 1];
      const file = window.niivue.NVImage.createNiftiArray(data.shape, data.spacing_mm, affine, 2, bytes);
      const volume = await window.niivue.NVImage.new(file.buffer, `${id}.nii`, "gray", opacity, null, 0, 255);
      this.ids.splice(at, 0, id);
      nv.volumes = [...nv.volumes.slice(0, at), volume, ...nv.volumes.slice(at)];
      [nv.back, nv.overlays] = [nv.volumes[0], nv.volumes.slice(1)];
      return volume;
    }

    /* Lays a layer over the image; maps go below the labels. */
    async overlay(layer) {
      const volume = await this.add(layer.id, layer.volume, 0, layer.kind === "labels" ? this.ids.length : 1);
      // As short as can be: NiiVue shows a value whose share of the table is below 2/256 as the one there.
      const I = [...Array(layer.kind === "labels" ? 1 + Math.max(...this.model.data.labels.map((label) => label.value)) : 256).keys()];
      const [R, G, B, A] = [0, 1, 2, 3].map((channel) => I.map((value) => layer.table[4 * value + channel]));
      volume.setColormapLabel({ R, G, B, A, I });
    }

    moved() {
      const vox = [...this.nv.frac2vox(this.nv.scene.crosshairPos)];
      if (String(vox) !== String(this.model.vox)) this.model.move(vox);
    }

    async show() {
      const { model, nv } = this, shown = model.shown();
      const now = JSON.stringify([model.sequence, shown.map((layer) => [layer.id, model.opacity(layer)])]);
      if (now !== this.drawn) {
        this.drawn = now;
        nv.volumes[0].img = model.image;
        for (const layer of shown) if (!this.ids.includes(layer.id)) await this.overlay(layer);
        this.ids.forEach((id, index) => {
          const layer = shown.find((one) => one.id === id);
          if (index) nv.volumes[index].opacity = layer ? model.opacity(layer) : 0;
        });
        nv.updateGLVolume();
      }
      nv.scene.crosshairPos = nv.vox2frac(model.vox);
      nv.drawScene();
    }
  }

  /* ---------------------------------------------------------------- the model, and the controls that change it */

  class Viewer {
    constructor(box) {
      [this.box, this.busy] = [box, Promise.resolve()];
      this.data = JSON.parse(box.querySelector("script.case-data").textContent);
      [this.to_mm, this.to_vox] = [this.data.affine, inverse(this.data.affine)];
      this.layers = new Map(this.data.layers.map((layer) => [layer.id, layer]));
      this.vox = this.data.shape.map((size) => Math.floor(size / 2));
    }

    async start() {
      this.asked = this.data.start_mm;
      this.vox = this.asked ? this.inside(applied(this.to_vox, this.asked)) : this.vox;
      this.listen();
      await this.load();
      this.screen = await this.chosen();
      this.say();
      await this.refresh();
      this.follow();
      window.addEventListener("hashchange", () => this.follow());
      this.box.dataset.ready = this.box.dataset.mode;
    }

    /* NiiVue where it can run; else the plain planes, and one line that says why. */
    async chosen() {
      const note = this.box.querySelector(".viewer-note");
      const why = window.niivue === undefined ? this.data.without_niivue
        : webgl2() ? "" : "Plain viewer: this browser offers no WebGL2, which NiiVue needs.";
      if (!why) {
        try {
          const nii = await Nii.on(this.box, this);
          this.box.dataset.mode = "niivue";
          return nii;
        } catch (error) {
          this.box.querySelector(".all").hidden = true;
          Object.assign(note, { textContent: `Plain viewer: NiiVue could not start (${error.message}).` }).classList.add("warning");
        }
      } else note.textContent = why;
      [note.hidden, this.box.dataset.mode] = [false, "plain"];
      return new Planes(this.box, this);
    }

    listen() {
      const controls = this.box.querySelector(".viewer-controls");
      controls.addEventListener("input", (event) => {
        const { axis } = event.target.dataset;
        if (axis) this.move(this.vox.map((old, index) => (index === Number(axis) ? Number(event.target.value) : old)));
        else this.refresh();
      });
      this.box.querySelector(".viewer-screens").addEventListener("keydown", (event) => this.pressed(event), true);
      document.addEventListener("click", (event) => {
        const link = event.target.closest("a[data-mm]");
        if (!link) return;
        event.preventDefault();
        if (link.hash && window.location.protocol !== "about:") window.history.replaceState(null, "", link.hash);
        this.go(link);
      });
    }

    /* Arrow keys move the crosshair in the plane that has the focus, Page Up and Page Down to the next slice. */
    pressed(event) {
      const plane = event.target.dataset.plane, axis = Math.max(AXES.indexOf(plane), plane === "all" ? 2 : 0);
      const [u, v] = [axis === 0 ? 1 : 0, axis === 2 ? 1 : 2], far = event.shiftKey ? AWAY : 1;
      const way = { ArrowLeft: [u, 1], ArrowRight: [u, -1], ArrowUp: [v, 1], ArrowDown: [v, -1],
        PageUp: [axis, 1], PageDown: [axis, -1] }[event.key];
      if (!way || event.ctrlKey || event.metaKey || event.altKey) {
        if (plane === "all") event.stopPropagation(); // NiiVue's own keys change what no control shows
        return;
      }
      event.preventDefault();
      event.stopPropagation();
      this.move(this.vox.map((old, index) => (index === way[0] ? old + way[1] * far : old)));
    }

    inside(vox) { return vox.map((at, axis) => Math.min(this.data.shape[axis] - 1, Math.max(0, Math.round(at)))); }

    /* Moves the crosshair to a voxel; asked: the place in mm that is meant, which is in it. */
    move(vox, asked = null) {
      this.vox = this.inside(vox);
      this.asked = asked;
      this.say();
      if (this.screen) this.refresh();
    }

    /* Goes to the lesion that the address names, as in page.html#lesion-ET-3. */
    follow() {
      const name = decodeURIComponent(window.location.hash.slice(1));
      const link = name && document.getElementById(name)?.querySelector("a[data-mm]");
      if (link) this.go(link);
    }

    go(link) {
      for (const row of document.querySelectorAll("tr[aria-current]")) row.removeAttribute("aria-current");
      link.closest("tr")?.setAttribute("aria-current", "true");
      const asked = link.dataset.mm.split(" ").map(Number);
      this.move(applied(this.to_vox, asked), asked);
      this.box.scrollIntoView({ block: "nearest" });
    }

    checked(kind) {
      return [...this.box.querySelectorAll(`input[data-kind="${kind}"]:checked`)].map((input) => input.value);
    }

    /* Outlines stand out against what is filled. */
    opacity(layer) {
      const share = Number(this.box.querySelector("input[data-opacity]").value) / 100;
      return layer.outlined ? 1 - (1 - share) ** 2 : share;
    }

    /* The overlays that are switched on, lowest first; decoded on first use. */
    shown() {
      const layers = this.checked("overlay").map((id) => this.layers.get(id)).filter((layer) => layer.volume);
      return [...layers.filter((layer) => layer.kind === "map"), ...layers.filter((layer) => layer.kind === "labels")];
    }

    async load() {
      [this.sequence] = this.checked("image");
      for (const id of [this.sequence, ...this.checked("overlay")]) {
        const layer = this.layers.get(id);
        if (!layer || layer.volume) continue;
        layer.volume = await decoded(this.data, layer);
        [layer.whole, layer.source] = [layer.volume, ""];
        if (layer.kind === "image") continue;
        layer.table = palette(this.data, layer);
        if (layer.outlined) layer.volume = shell(this.data.shape, layer.volume);
      }
      this.image = this.layers.get(this.sequence)?.volume;
    }

    /* Decodes what is missing, then draws; one after the other, for a slider speaks faster than a volume decodes. */
    refresh() {
      if (this.waiting) return this.busy;
      this.waiting = true;
      this.busy = this.busy.then(async () => {
        this.waiting = false;
        await this.load();
        await this.screen.show();
        this.say();
      });
      return this.busy;
    }

    say() {
      const { data, vox } = this, mm = applied(this.to_mm, vox);
      this.box.dataset.mm = mm.map((value) => value.toFixed(2)).join(" ");
      const sliders = this.box.querySelectorAll("input[data-axis]");
      sliders.forEach((slider) => {
        const axis = Number(slider.dataset.axis), slice = data.first[axis] + data.step[axis] * vox[axis] + 1;
        slider.value = vox[axis];
        const text = slider.parentElement.querySelector("output").textContent = `${slice} of ${data.whole[axis]}`;
        slider.setAttribute("aria-valuetext", `slice ${text}`);
      });
      const [nx, ny] = data.shape, at = vox[0] + nx * (vox[1] + ny * vox[2]);
      const labels = Object.fromEntries(data.labels.map((label) => [label.value, label.name]));
      const found = this.shown().map((layer) => `${layer.name} ${layer.kind === "labels"
        ? labels[layer.whole[at]] ?? "none" : (layer.whole[at] / 255).toFixed(2)}`);
      const [right, front, top] = (this.asked ?? mm).map((value) => value.toFixed(1));
      const place = `R ${right}, A ${front}, S ${top} mm`;
      this.box.querySelector(".viewer-place").textContent = [place, ...found].join(" · ").replaceAll("-", "\u2212");
    }
  }

  for (const box of document.querySelectorAll(".viewer")) {
    new Viewer(box).start().catch((error) => {
      const note = box.querySelector(".viewer-note");
      Object.assign(note, { textContent: `The viewer could not start: ${error.message}`, hidden: false }).classList.add("warning");
    });
  }
})();
