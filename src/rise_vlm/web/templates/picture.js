// The pictures of the item that is shown: the first as large as there is room, others below it.

import { element } from "./editors.js";

const $ = (id) => document.getElementById(id);
let item = null;

export function watchPicture(ask) { // `ask` gets an address and throws what the server says is wrong
  addEventListener("resize", fit);
  new ResizeObserver(fit).observe($("frame").parentElement);
  $("picture").addEventListener("error", () => failed(ask));
}

export function showPicture(next) {
  item = next;
  const picture = $("picture");
  $("picture-problem").hidden = true;
  $("frame").hidden = false;
  picture.alt = item.id;
  picture.src = `pictures/${item.index}/0`;
  fit();
  const others = [];
  for (let number = 1; number < item.pictures; number++) {
    others.push(element("img", { src: `pictures/${item.index}/${number}`, alt: `Picture ${number + 1}` }));
  }
  $("others").replaceChildren(...others);
  $("others").hidden = !others.length;
}

function fit() { // as large as the stage allows, in the shape that the record tells
  if (!item) return;
  const stage = $("frame").parentElement;
  const style = getComputedStyle(stage);
  const wide = stage.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const narrow = matchMedia("(max-width: 760px)").matches;
  const inside = stage.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  const high = narrow ? innerHeight * 0.55 : inside - (item.pictures > 1 ? 100 : 0);
  const scale = Math.min(wide / item.width, high / item.height, 6);
  $("frame").style.width = `${Math.max(Math.floor(item.width * scale), 1)}px`;
  $("frame").style.height = `${Math.max(Math.floor(item.height * scale), 1)}px`;
}

async function failed(ask) {
  const { index } = item;
  const said = await ask(`pictures/${index}/0`).catch((error) => error.message);
  if (item.index !== index) return;
  $("frame").hidden = true;
  $("picture-problem").hidden = false;
  $("picture-problem").textContent = typeof said === "string" ? said : "The picture cannot be shown.";
}
