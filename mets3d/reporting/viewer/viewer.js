/* Shows a case in three planes: by NiiVue (screen.js), else by plain planes (planes.js). This file has what both
   show and the controls that change it; `assets.viewer_script` puts the files into one script.

   The page holds the volumes as mosaics of their axial slices, base64, in the element of class "case-data". Everything is
   on one grid of voxels in RAS order; "affine" maps its indices to mm. Nothing is loaded from anywhere else. */

const AWAY = 8; // voxels by which Page Up and Page Down move with Shift

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
