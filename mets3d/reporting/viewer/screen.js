/* The three planes by NiiVue, where it is loaded and WebGL2 works. */

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
