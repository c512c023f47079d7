// One editor per kind of annotation. Each has show(annotation, item), value, close() and digit(number);
// keys(event) says whether it took the key. `changed` is called on every edit.

import { Boxes } from "./boxes.js";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const MANY = 10;
const keyOf = (index) => (index < 9 ? `${index + 1}` : index === 9 ? "0" : "");

function reveal(list, part) { // only the list scrolls: on a phone the picture stays where it is
  if (part) list.scrollTop = Math.min(Math.max(list.scrollTop, part.offsetTop + part.offsetHeight - list.clientHeight), part.offsetTop);
}

class ClassButtons {
  constructor(root, classes, chosen) {
    this.classes = classes;
    this.buttons = classes.map((name, index) => {
      const shown = element("button", { type: "button", className: `c${index % 7}` }, name);
      if (keyOf(index)) shown.append(element("kbd", {}, keyOf(index)));
      shown.addEventListener("click", () => chosen(name));
      return shown;
    });
    const list = this.list = element("div", { className: "classes", role: "group", ariaLabel: "Classes" }, ...this.buttons);
    if (classes.length > MANY) {
      list.classList.add("many");
      this.find = element("input", { type: "search", placeholder: "Find a class ( / )", ariaLabel: "Find a class" });
      this.find.addEventListener("input", () => this.narrow());
      this.find.addEventListener("keydown", (event) => {
        const first = this.buttons.findIndex((button) => !button.hidden);
        if (event.key !== "Enter" || event.ctrlKey || first < 0) return;
        event.preventDefault();
        event.stopPropagation();
        chosen(classes[first]);
        this.find.value = "";
        this.narrow();
        this.find.blur();
      });
      root.append(this.find);
    }
    root.append(list);
  }

  narrow() {
    const part = this.find.value.trim().toLowerCase();
    this.buttons.forEach((button, index) => { button.hidden = !this.classes[index].toLowerCase().includes(part); });
  }

  mark(name) {
    this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(this.classes[index] === name)));
    reveal(this.list, this.buttons[this.classes.indexOf(name)]);
  }
}

class ClassEditor {
  constructor(root, { classes, changed }) {
    this.classes = classes;
    this.changed = changed;
    this.list = new ClassButtons(root, classes, (name) => this.choose(name));
  }

  show(annotation) {
    this.value = annotation;
    this.list.mark(annotation);
  }

  choose(name) {
    this.show(name);
    this.changed();
  }

  digit(number) {
    if (number >= this.classes.length) return false;
    this.choose(this.classes[number]);
    return true;
  }

  keys(event) {
    if (event.key !== "/" || !this.list.find) return false;
    this.list.find.focus();
    return true;
  }

  close() {}
}

class ShareEditor {
  constructor(root, { classes, changed }) {
    Object.assign(this, { classes, changed });
    this.rows = classes.map((name, index) => {
      const id = `share-${index}`;
      const slider = element("input", { type: "range", min: 0, max: 1, step: 0.01, id, className: "slider" });
      const field = element("input", { type: "number", min: 0, max: 1, step: 0.01, ariaLabel: `Probability of ${name}` });
      slider.addEventListener("input", () => this.set(index, slider.valueAsNumber));
      field.addEventListener("input", () => this.set(index, field.valueAsNumber, true));
      const label = element("label", { htmlFor: id }, name, " ");
      if (keyOf(index)) label.append(element("kbd", {}, keyOf(index)));
      return { slider, field, label };
    });
    const grid = element("div", { className: "shares" });
    for (const { label, slider, field } of this.rows) grid.append(label, slider, field);
    this.sum = element("span");
    const scale = element("button", { type: "button", title: "Scale to a sum of 1 (=)" }, "Scale to 1 ", element("kbd", {}, "="));
    scale.addEventListener("click", () => this.scale());
    this.line = element("div", { className: "sum" }, this.sum, scale);
    root.append(grid, this.line);
  }

  show(annotation) {
    this.value = annotation && typeof annotation === "object" ? { ...annotation } : {};
    this.rows.forEach((_, index) => this.draw(index));
    this.total();
  }

  draw(index, typing = false) {
    const share = this.value[this.classes[index]] ?? 0;
    this.rows[index].slider.value = share;
    if (!typing) this.rows[index].field.value = Math.round(share * 1e3) / 1e3;
  }

  set(index, share, typing = false) {
    if (share) this.value[this.classes[index]] = share; // one below 0 too, for the server to refuse
    else delete this.value[this.classes[index]];
    this.draw(index, typing);
    this.total();
    this.changed();
  }

  total() {
    const total = Object.values(this.value).reduce((sum, share) => sum + share, 0);
    this.sum.textContent = `Sum ${total.toFixed(2)}`;
    this.line.classList.toggle("off", Math.abs(total - 1) > 0.02);
    return total;
  }

  scale() {
    const total = this.total();
    if (!(total > 0)) return;
    for (const name of Object.keys(this.value)) this.value[name] = Math.round((this.value[name] / total) * 1e6) / 1e6;
    this.rows.forEach((_, index) => this.draw(index));
    this.total();
    this.changed();
  }

  digit(number) {
    this.rows[number]?.slider.focus();
    return number < this.rows.length;
  }

  keys(event) {
    if (event.key !== "=") return false;
    this.scale();
    return true;
  }

  close() {}
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class BoxEditor {
  constructor(root, { classes, changed, frame, overlay, single }) {
    Object.assign(this, { classes, changed, single });
    this.brush = single ? null : classes[0];
    if (!single) this.list = new ClassButtons(root, classes, (name) => this.name(name));
    this.rows = element("ul", { className: "boxes", ariaLabel: "Boxes" });
    this.note = element("p", { className: "note" });
    root.append(this.rows, this.note);
    this.stage = new Boxes(frame, overlay, {
      single,
      colour: (label) => `c${single ? 0 : Math.max(classes.indexOf(label), 0) % 7}`,
      label: (label) => (single ? "" : label),
      changed: () => { this.write(); this.changed(); },
      chose: () => this.write(),
    });
    this.stage.brush = this.brush;
  }

  show(annotation, item) {
    const boxes = this.single ? (annotation ? [{ label: null, box: annotation }] : []) : annotation ?? [];
    this.unread = annotation === null && !this.single;
    this.stage.show(boxes.map(({ label, box }) => ({ label, box: [...box] })), item.width, item.height);
    this.write();
  }

  get value() {
    const boxes = this.stage.boxes;
    if (this.unread) return null;
    return this.single ? boxes[0]?.box ?? null : boxes.map(({ label, box }) => ({ label, box }));
  }

  write() {
    const { boxes, chosen } = this.stage;
    this.rows.replaceChildren(...boxes.map((one, index) => this.row(one, index)));
    reveal(this.rows, this.rows.children[chosen]);
    this.unread &&= !boxes.length;
    const empty = this.unread ? this.nothing() : this.single ? ["No box yet: drag one on the picture."] : ["No boxes: drag one on the picture, or accept that there is nothing."];
    this.note.replaceChildren(...(boxes.length ? [] : empty));
    if (this.single) return;
    if (boxes[chosen]) this.brush = this.stage.brush = boxes[chosen].label; // what is marked is what is drawn next
    this.list.mark(this.brush);
  }

  nothing() { // an answer that could not be read is not the answer that there is nothing
    const say = element("button", { type: "button" }, "Nothing is there");
    say.addEventListener("click", () => { this.unread = false; this.write(); this.changed(); });
    return ["No answer: drag boxes on the picture, or ", say];
  }

  row({ label, box }, index) {
    const size = element("small", {}, `${Math.round(box[2] - box[0])} × ${Math.round(box[3] - box[1])}`);
    const choose = element("button", { type: "button" }, this.single ? `[${box.map(Math.round).join(", ")}]` : label, size);
    choose.addEventListener("click", () => this.stage.choose(index));
    const remove = element("button", { type: "button", className: "remove", title: "Remove (Del)", ariaLabel: "Remove the box" }, "×");
    remove.addEventListener("click", () => this.stage.remove(index));
    const row = element("li", { className: this.stage.drawn(index).classList[0] }, choose, remove);
    row.classList.toggle("chosen", index === this.stage.chosen);
    return row;
  }

  name(label) { // of the chosen box; without one, of those drawn next
    this.brush = this.stage.brush = label;
    const one = this.stage.boxes[this.stage.chosen];
    if (one && one.label !== label) {
      one.label = label;
      this.changed();
    }
    this.stage.draw();
    this.write();
  }

  digit(number) {
    if (this.single || number >= this.classes.length) return false;
    this.name(this.classes[number]);
    return true;
  }

  keys(event) {
    const arrow = ARROWS[event.key];
    if (arrow && event.shiftKey) this.stage.nudge(...arrow, event.altKey);
    else if (event.key === "]" || event.key === "[") this.stage.step(event.key === "]" ? 1 : -1);
    else if (event.key === "Delete" || event.key === "Backspace") this.stage.remove(this.stage.chosen);
    else if (event.key === "Escape" && this.stage.chosen >= 0) this.stage.choose(-1);
    else if (event.key === "/" && this.list?.find) this.list.find.focus();
    else return false;
    return true;
  }

  close() {
    this.stage.close();
  }
}

class JsonEditor {
  constructor(root, { changed }) {
    this.area = element("textarea", { className: "json", rows: 6, spellcheck: false, ariaLabel: "Annotation as JSON" });
    this.area.addEventListener("input", changed);
    root.append(element("label", { className: "title" }, "Annotation (JSON)"), this.area);
  }

  show(annotation, item) {
    this.area.value = item.text ?? JSON.stringify(annotation, null, 1);
  }

  get text() {
    return this.area.value;
  }

  get value() {
    return null; // the text counts
  }

  digit() {
    return false;
  }

  keys() {
    return false;
  }

  close() {}
}

export function makeEditor(task, root, options) {
  if (task === "classification") return new ClassEditor(root, options);
  if (task === "distribution") return new ShareEditor(root, options);
  if (task === "grounding" || task === "detection") return new BoxEditor(root, { ...options, single: task === "grounding" });
  return new JsonEditor(root, options);
}
