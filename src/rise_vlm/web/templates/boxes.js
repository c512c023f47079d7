// Boxes over the picture: drawn, chosen, moved and resized by pointer or keys. Coordinates are pixels of the record.

const SVG = "http://www.w3.org/2000/svg";
const CORNERS = { nw: [0, 1], ne: [2, 1], se: [2, 3], sw: [0, 3] };
const COARSE = matchMedia("(pointer: coarse)"); // a finger
const SMALLEST = 5; // pixels of the screen; a shorter drag is a click

function shape(name, attributes, ...classes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.classList.add(...classes);
  return made;
}

export const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
const rounded = (value) => Math.round(value * 10) / 10;

export class Boxes {
  // single: a new box takes the place of the old one. changed(): something was edited. chose(): another box was chosen.
  constructor(frame, overlay, { single, changed, chose, colour, label }) {
    Object.assign(this, { frame, overlay, single, changed, chose, colour, label });
    this.boxes = [];
    this.chosen = -1;
    this.drag = null;
    this.listeners = [
      ["pointerdown", (event) => this.down(event)],
      ["pointermove", (event) => this.move(event)],
      ["pointerup", (event) => this.up(event)],
      ["pointercancel", () => this.cancel()],
    ];
    for (const [name, listener] of this.listeners) frame.addEventListener(name, listener);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(frame);
    frame.classList.add("boxed");
  }

  close() {
    for (const [name, listener] of this.listeners) this.frame.removeEventListener(name, listener);
    this.observer.disconnect();
    this.frame.classList.remove("boxed");
    this.overlay.replaceChildren();
  }

  show(boxes, width, height) {
    Object.assign(this, { boxes, width, height, drag: null });
    this.chosen = this.single && boxes.length ? 0 : -1;
    this.overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.overlay.setAttribute("preserveAspectRatio", "none");
    this.draw();
  }

  get scale() { // record pixels per screen pixel
    return this.width / Math.max(this.frame.clientWidth, 1);
  }

  draw() {
    if (!this.width) return;
    const order = this.boxes.map((_, index) => index);
    // Small ones on top, so that a click reaches them; the chosen one above all.
    order.sort((a, b) => (a === this.chosen) - (b === this.chosen) || area(this.boxes[b].box) - area(this.boxes[a].box));
    this.overlay.replaceChildren(...order.map((index) => this.drawn(index)));
  }

  drawn(index) {
    const { box, label } = this.boxes[index];
    const [x, y, right, bottom] = box;
    const group = shape("g", { "data-box": index }, this.colour(label));
    const sides = { x, y, width: Math.max(right - x, 0), height: Math.max(bottom - y, 0) };
    group.append(shape("rect", sides, "halo"), shape("rect", sides, "box"));
    if (index === this.chosen) group.classList.add("chosen");
    const name = this.label(label);
    if (name) group.append(...this.tag(name, x, y, bottom));
    if (index === this.chosen) {
      const size = (COARSE.matches ? 22 : 11) * this.scale;
      for (const [corner, [i, j]] of Object.entries(CORNERS)) {
        const place = { x: box[i] - size / 2, y: box[j] - size / 2, width: size, height: size };
        group.append(shape("rect", place, "corner", corner));
      }
    }
    return group;
  }

  tag(name, x, y, bottom) {
    const unit = this.scale;
    const height = 18 * unit;
    const width = (name.length * 7.7 + 10) * unit;
    const top = y >= height ? y - height : Math.min(y, bottom - height);
    const left = Math.max(0, Math.min(x, this.width - width));
    const text = shape("text", { x: left + 5 * unit, y: top + height / 2, "font-size": 12.5 * unit });
    text.textContent = name;
    return [shape("rect", { x: left, y: top, width, height }, "tag"), text];
  }

  at(event) { // the pointer in record pixels, inside the picture
    const frame = this.frame.getBoundingClientRect();
    const x = ((event.clientX - frame.left) / frame.width) * this.width;
    const y = ((event.clientY - frame.top) / frame.height) * this.height;
    return [Math.min(Math.max(x, 0), this.width), Math.min(Math.max(y, 0), this.height)];
  }

  down(event) {
    if (event.button !== 0 || !this.width || this.drag) return;
    event.preventDefault();
    this.frame.setPointerCapture(event.pointerId);
    const start = this.at(event);
    const owner = event.target.closest?.("g[data-box]");
    const over = owner ? Number(owner.dataset.box) : -1;
    const corner = Object.keys(CORNERS).find((name) => event.target.classList.contains(name));
    const kind = corner ? "resize" : over === this.chosen && over >= 0 && !event.shiftKey ? "move" : "new";
    const before = over >= 0 ? [...this.boxes[over].box] : null;
    this.drag = { id: event.pointerId, kind, start, over, corner, before, moved: false, from: [event.clientX, event.clientY] };
  }

  move(event) {
    const drag = this.drag;
    if (!drag || event.pointerId !== drag.id) return;
    const far = Math.hypot(event.clientX - drag.from[0], event.clientY - drag.from[1]);
    if (!drag.moved && far < SMALLEST) return;
    drag.moved = true;
    const [x, y] = this.at(event);
    if (drag.kind === "new") this.stretch(drag, x, y);
    else if (drag.kind === "move") this.boxes[drag.over].box = this.shifted(drag.before, x - drag.start[0], y - drag.start[1]);
    else this.boxes[drag.over].box = this.pulled(drag, x, y);
    this.draw();
  }

  stretch(drag, x, y) {
    const [u, v] = drag.start;
    const box = [Math.min(u, x), Math.min(v, y), Math.max(u, x), Math.max(v, y)];
    if (drag.made === undefined) {
      drag.kept = this.boxes;
      this.boxes = this.single ? [] : [...this.boxes];
      drag.made = this.boxes.push({ label: this.brush, box }) - 1;
      this.chosen = drag.made;
    }
    this.boxes[drag.made].box = box;
  }

  shifted(box, dx, dy) {
    const x = Math.min(Math.max(dx, -box[0]), this.width - box[2]);
    const y = Math.min(Math.max(dy, -box[1]), this.height - box[3]);
    return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
  }

  pulled(drag, x, y) {
    const [i, j] = CORNERS[drag.corner];
    const box = [...drag.before];
    box[i] = x;
    box[j] = y;
    return [Math.min(box[0], box[2]), Math.min(box[1], box[3]), Math.max(box[0], box[2]), Math.max(box[1], box[3])];
  }

  up(event) {
    const drag = this.drag;
    if (!drag || event.pointerId !== drag.id) return;
    this.drag = null;
    if (!drag.moved) {
      this.choose(drag.over);
      return;
    }
    const index = drag.made ?? drag.over;
    const box = this.boxes[index].box.map(rounded);
    if (box[0] >= box[2] || box[1] >= box[3]) { // dragged flat
      if (drag.kept) this.boxes = drag.kept;
      else this.boxes[index].box = drag.before;
      this.chosen = Math.min(this.chosen, this.boxes.length - 1);
    } else {
      this.boxes[index].box = box;
      this.changed();
    }
    this.draw();
    this.chose();
  }

  cancel() { // the browser took the pointer away
    const drag = this.drag;
    this.drag = null;
    if (!drag) return;
    if (drag.kept) {
      this.boxes = drag.kept;
      this.chosen = -1;
    } else if (drag.before && drag.moved) this.boxes[drag.over].box = drag.before;
    this.draw();
  }

  choose(index) {
    this.chosen = index;
    this.draw();
    this.chose();
  }

  step(by) {
    if (this.boxes.length) this.choose((Math.max(this.chosen, by > 0 ? -1 : 0) + by + this.boxes.length) % this.boxes.length);
  }

  remove(index) {
    if (!this.boxes[index]) return;
    this.boxes.splice(index, 1);
    this.chosen = -1;
    this.changed();
    this.draw();
    this.chose();
  }

  nudge(dx, dy, corner) {
    const one = this.boxes[this.chosen];
    if (!one) return;
    if (!corner) one.box = this.shifted(one.box, dx, dy);
    else {
      const right = Math.min(Math.max(one.box[2] + dx, one.box[0] + 1), this.width);
      const bottom = Math.min(Math.max(one.box[3] + dy, one.box[1] + 1), this.height);
      one.box = [one.box[0], one.box[1], right, bottom];
    }
    one.box = one.box.map(rounded);
    this.changed();
    this.draw();
    this.chose();
  }
}
