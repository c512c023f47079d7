"use strict";
(() => {
  const gallery = document.querySelector(".gallery");
  if (!gallery) return;
  const PAGE = 12;
  const articles = [...gallery.querySelectorAll("article")];
  const scores = new Map(articles.map(article => [article, JSON.parse(article.dataset.scores)]));
  const filters = document.querySelector(".filters");
  const more = document.querySelector(".more");
  const state = { judge: gallery.dataset.judged, outcome: "all", split: "", shown: PAGE };

  const order = article => (scores.get(article)[state.judge] || [2])[0];
  const fits = article => {
    const judged = scores.get(article)[state.judge];
    if (state.split && article.dataset.split !== state.split) return false;
    return state.outcome === "all" || (!!judged && (judged[1] === 1) === (state.outcome === "right"));
  };

  function show() {
    const chosen = articles.filter(fits).sort((a, b) => order(a) - order(b));
    for (const article of articles) article.hidden = true;
    chosen.forEach((article, index) => {
      gallery.append(article);
      article.hidden = index >= state.shown;
    });
    for (const part of gallery.querySelectorAll("[data-arm]"))
      part.classList.toggle("judged", part.dataset.arm === state.judge);
    // The judged arm's box or dot is drawn last, above the others.
    for (const part of gallery.querySelectorAll("rect.judged, i.dot.judged")) part.parentNode.append(part);
    filters.querySelector(".count").textContent = chosen.length === 1 ? "1 picture" : chosen.length + " pictures";
    document.querySelector(".none").hidden = chosen.length > 0;
    more.hidden = chosen.length <= state.shown;
  }

  filters.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    Object.assign(state, { ...button.dataset, shown: PAGE });
    for (const other of button.parentNode.children) other.setAttribute("aria-pressed", String(other === button));
    show();
  });
  more.addEventListener("click", () => {
    state.shown += PAGE;
    show();
  });
  filters.hidden = false;
  show();
})();
