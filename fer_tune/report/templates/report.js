// What belongs to one trial is marked together, with its hyperparameters beside the pointer. Tables
// of trials are sorted by a click. Without this script the page shows the same figures and tables.
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);

  function describe(table, row) {
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    tip.replaceChildren();
    [...row.cells].forEach((cell, place) => {
      if (cell.textContent.trim() === "" || cell.textContent === "–") return;
      const line = tip.appendChild(document.createElement("div"));
      line.append(Object.assign(document.createElement("span"), { textContent: names[place] }), " ", cell.textContent);
    });
  }

  function place(event) {
    const box = tip.getBoundingClientRect();
    const left = event.clientX + 16 + box.width > innerWidth ? event.clientX - box.width - 16 : event.clientX + 16;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - box.height - 4))}px`;
  }

  for (const section of document.querySelectorAll("section.study")) {
    const table = section.querySelector("table.trials");
    if (table === null) continue;
    for (const title of section.querySelectorAll("[data-trial] > title")) title.remove(); // the tip says more
    const none = () => {
      for (const one of section.querySelectorAll(".on")) one.classList.remove("on");
      tip.hidden = true;
    };
    section.addEventListener("pointerover", (event) => {
      none();
      const found = event.target.closest("[data-trial]");
      if (found === null) return;
      const all = section.querySelectorAll(`[data-trial="${found.dataset.trial}"]`);
      for (const one of all) one.classList.add("on");
      if (found.closest("svg") === null) return;
      describe(table, [...all].find((one) => one.tagName === "TR"));
      tip.hidden = false;
      place(event);
    });
    section.addEventListener("pointerleave", none);
    sortable(table);
  }

  function sortable(table) {
    const [head, body] = [table.tHead.rows[0], table.tBodies[0]];
    [...head.cells].forEach((cell, column) => {
      cell.tabIndex = 0;
      const sort = () => {
        const down = cell.getAttribute("aria-sort") !== "descending";
        for (const other of head.cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        body.append(...[...body.rows].sort((one, other) => compare(one.cells[column], other.cells[column], down)));
      };
      cell.addEventListener("click", sort);
      cell.addEventListener("keydown", (event) => event.key === "Enter" && sort());
    });
    if (body.rows.length > 25) {
      table.classList.add("few");
      const more = document.createElement("button");
      more.textContent = `Show all ${body.rows.length} trials`;
      more.addEventListener("click", () => { table.classList.remove("few"); more.remove(); });
      table.parentElement.after(more);
    }
  }

  function compare(one, other, down) {
    const [a, b] = [one.dataset.value ?? "", other.dataset.value ?? ""];
    if (a === "" || b === "") return (a === "") - (b === ""); // what is not known comes last
    const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    return down ? -order : order;
  }
})();
