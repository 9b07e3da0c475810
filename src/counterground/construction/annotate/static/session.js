// What labelling and the review of masks share: one photo after the other is shown, decided, undone and saved.
import { newToken, page } from "./api.js";
import { Counter } from "./counter.js";
import { Deck, load } from "./deck.js";
import { $, keepFocus, notice, say, text } from "./dom.js";
import { History } from "./history.js";
import { listen } from "./keys.js";
import { Outbox } from "./outbox.js";
import { claimTab, showSaved } from "./saved.js";
import { Zoom } from "./zoom.js";

const BEAT = 45_000;

export class Session {
  // `lease` is the deck's fetch. `parts` is what differs between the pages:
  //   kind          its pages of one annotator, of which only the last one decides
  //   busy()        whether the photo on screen must stay though somebody else decided on it
  //   draw(photo, problem)  shows what belongs to the photo; null: there is none. Returns words to say.
  //   ended(box)    completes what is shown when no photo is left
  constructor(lease, parts) {
    Object.assign(this, parts);
    this.zoom = new Zoom($("view"));
    this.outbox = new Outbox(showSaved);
    this.counter = new Counter();
    this.shown = false; // whether the photo of `deck.current` is what is on screen
    this.history = new History(this.outbox, this.counter, (photo, labels) => this.#goBack(photo, labels), parts.adjudicating);
    this.deck = new Deck(lease, () => this.outbox.paths(), {
      changed: (answer) => this.counter.heard(answer, this.outbox.waiting.length),
      revoked: () => {
        if (this.busy()) return;
        say("Somebody else has decided on this photo.");
        void this.advance();
      },
    });
  }

  get photo() {
    return this.deck.current;
  }

  ifReady(act) {
    return this.shown ? act() : undefined;
  }

  async #show(photo, saying = "") {
    this.shown = false;
    if (photo.state === "loading") notice("Loading …", 150);
    const problem = await photo.ready;
    photo.maskProblem = await photo.maskReady;
    if (this.photo !== photo) return;
    photo.image.alt = `Photo of class ${photo.class_name}`;
    this.zoom.show(problem ? null : photo.image);
    notice(problem || photo.maskProblem || "");
    $("end").hidden = true;
    $("main").dataset.over = "false";
    $("class").textContent = photo.class_name;
    text("before", photo.chosen ? `Before: ${photo.chosen.join(", ")}. Choose again.` : "");
    this.shown = true;
    const words = this.draw(photo, problem);
    say(`${saying}${photo.class_name}.${words} ${this.counter.place()}.`);
  }

  #clear(title, words) {
    this.shown = false;
    this.zoom.show(null);
    $("class").textContent = title;
    text("before", "");
    this.draw(null);
    notice(words);
  }

  // Sends a decision with these fields; `labels` is what it says.
  decide(labels, fields) {
    const { photo } = this;
    const event = { kind: "decide", token: newToken(), task: page.task, path: photo.path, ...fields };
    delete photo.chosen;
    delete photo.returned;
    this.outbox.add(event);
    this.history.add(photo, event, labels);
    this.counter.decided(labels);
    void this.advance(`${labels.join(", ")}. Next: `);
  }

  async advance(saying = "") {
    this.shown = false;
    const photo = await this.deck.next((failure) => this.#clear("…", failure.message));
    if (photo) await this.#show(photo, saying);
    else if (photo === null) this.#end();
  }

  #end() {
    this.#clear("All done", "");
    $("main").dataset.over = "true";
    const box = $("end");
    box.replaceChildren($("finished").content.cloneNode(true));
    box.hidden = false;
    box.focus({ preventScroll: true });
    const { session, done } = this.counter;
    const words = `${session.toLocaleString("en")} decided in this session, ${done.toLocaleString("en")} in total.`;
    box.querySelector(".session").textContent = words;
    box.querySelector(".again").addEventListener("click", () => {
      box.hidden = true;
      void this.advance();
    });
    say(`That was the last photo. ${words}`);
    void this.ended?.(box);
  }

  #goBack(photo, labels) {
    this.deck.swapIn(photo);
    photo.chosen = labels[0] === "later" ? null : labels;
    if (!photo.image) load(photo);
    void this.#show(photo, `Undone: ${labels.join(", ")}. Back to `);
  }

  // `find(name, event)` returns what a key does on this page; `clicks` what its buttons do.
  async start(find, clicks) {
    const { zoom, outbox, deck } = this;
    const shared = {
      z: () => zoom.toggle(),
      in: () => zoom.by(1.4),
      out: () => zoom.by(1 / 1.4),
      help: () => $("help").showModal(),
    };
    listen(zoom, $("keys-on"), (name, event) => find(name, event) ?? shared[name]);
    const all = {
      "zoom-in": shared.in,
      "zoom-out": shared.out,
      "zoom-fit": () => zoom.fit(),
      "help-open": shared.help,
      "trouble-again": () => outbox.again(),
      "trouble-drop": () => outbox.drop(),
      ...clicks,
    };
    for (const [id, act] of Object.entries(all)) $(id).addEventListener("click", () => act());
    keepFocus(".panel button, .zoom button");
    // One page at a time for each annotator; it renews its leases while it is visible.
    setInterval(() => !document.hidden && void deck.beat(), BEAT);
    document.addEventListener("visibilitychange", () => !document.hidden && void deck.beat());
    claimTab(this.kind);
    void outbox.flush();
    await this.advance();
  }
}
