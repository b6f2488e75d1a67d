// A mask over a picture: painted, or by numbers. What is painted is to be drawn anew.

const COLOUR = "#c2185b";

export class Mask {
  #canvas;
  #context;
  #done = [];
  #changed;

  /** changed(empty). brush(): its width, in hundredths of the picture's. */
  constructor(canvas, { brush, changed }) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { willReadFrequently: true });
    this.#changed = changed;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#done.push({ stroke: [this.#at(event)], width: (brush() * canvas.width) / 100 });
      this.#draw();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      this.#done.at(-1).stroke.push(...(event.getCoalescedEvents?.() ?? [event]).map((one) => this.#at(one)));
      this.#draw();
    });
  }

  /** Of a picture so large. */
  reset(width, height) {
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#done = [];
    this.#draw();
  }

  undo = () => this.#then(() => this.#done.pop());
  invert = () => this.#then(() => this.#done.push({ invert: true }));
  clear = () => this.#then(() => this.#done.push({ clear: true }));
  /** In hundredths. */
  rectangle = (left, top, width, height) => this.#then(() => this.#done.push({ rectangle: [left, top, width, height] }));

  get empty() {
    const { data } = this.#context.getImageData(0, 0, this.#canvas.width, this.#canvas.height);
    for (let at = 3; at < data.length; at += 4) if (data[at] === 255) return false;
    return true;
  }

  /** As the API takes it: a PNG, transparent where it is painted. */
  png() {
    const made = Object.assign(document.createElement("canvas"), { width: this.#canvas.width, height: this.#canvas.height });
    const context = made.getContext("2d");
    context.fillRect(0, 0, made.width, made.height);
    context.globalCompositeOperation = "destination-out";
    context.drawImage(this.#canvas, 0, 0);
    return new Promise((resolve) => made.toBlob(resolve, "image/png"));
  }

  #then(act) {
    act();
    this.#draw();
  }

  #at(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.#canvas.width, ((event.clientY - box.top) / box.height) * this.#canvas.height];
  }

  #draw() {
    const { width, height } = this.#canvas;
    const context = this.#context;
    context.clearRect(0, 0, width, height);
    context.strokeStyle = context.fillStyle = COLOUR;
    context.lineCap = context.lineJoin = "round";
    for (const one of this.#done) {
      if (one.clear) context.clearRect(0, 0, width, height);
      else if (one.rectangle) {
        const [left, top, wide, high] = one.rectangle;
        context.fillRect(Math.round((left * width) / 100), Math.round((top * height) / 100), Math.round((wide * width) / 100), Math.round((high * height) / 100));
      } else if (one.invert) {
        context.globalCompositeOperation = "xor";
        context.fillRect(0, 0, width, height);
        context.globalCompositeOperation = "source-over";
      } else {
        context.lineWidth = one.width;
        context.beginPath();
        context.moveTo(...one.stroke[0]);
        for (const point of one.stroke) context.lineTo(...point);
        context.stroke();
      }
    }
    this.#changed();
  }
}
