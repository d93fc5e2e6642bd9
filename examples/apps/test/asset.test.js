// Goal: the asset app and its service worker keep what people wrote and tell them what others did.
// Method: the clients of `src/asset.js` and `src/worker.js` against the real relay; the events of a
// service worker come from `scope.js`, which says what it is not.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";

import { Assets, empty } from "../src/asset.js";
import { attach, TAG } from "../src/worker.js";
import { logIn, open } from "./app.js";
import { Browser } from "./scope.js";
import { Site, TENANT } from "./site.js";

/** @type {Site} */
let site;

before(async () => {
  site = await Site.make();
  for (const name of ["ana", "ben"]) await site.person(`${name}@example.org`, "member");
  await site.up();
});

after(() => site?.end());

/**
 * @param {string} device
 * @param {string} [name]
 */
async function phone(device, name = "ana") {
  const opened = await logIn(site, device, `${name}@example.org`, empty);
  return { ...opened, app: new Assets(opened.session, opened.store) };
}

function task(title = "Grease the pump") {
  return { title, status: "OPEN", priority: "NORMAL" };
}

test("what is written offline is there at once, goes up, and comes down elsewhere", async () => {
  const [ana, ben] = [await phone("phone-1"), await phone("phone-2", "ben")];
  const id = randomUUID();
  await ana.app.write("CREATE", "task", id, task());
  await ana.app.write("UPDATE", "task", id, { status: "DONE" });
  assert.equal(ana.app.read("task", id)?.isPending, true);
  const sent = await ana.app.sync();
  assert.deepEqual([sent.sent, sent.conflicts], [2, []]);
  assert.equal(ana.app.read("task", id)?.isPending, false);
  await ben.app.sync();
  assert.equal(ben.app.read("task", id)?.data["status"], "DONE");
  await ben.app.write("DELETE", "task", id);
  await ben.app.sync();
  await ana.app.sync();
  assert.equal(ana.app.read("task", id), undefined);
  assert.deepEqual(await ana.app.sync(), { sent: 0, received: 0, conflicts: [] });
});

test("two edits of one field while offline are no conflict, also when the answer is lost", async () => {
  const ana = await phone("phone-3");
  const id = randomUUID();
  await ana.app.write("CREATE", "task", id, task("A"));
  await ana.app.sync();
  await ana.app.write("UPDATE", "task", id, { title: "B" });
  await ana.app.write("UPDATE", "task", id, { title: "C" });
  ana.wire.next("answer lost");
  await assert.rejects(ana.app.sync(), TypeError);
  assert.deepEqual((await ana.app.sync()).conflicts, []);
  const ben = await phone("phone-4", "ben");
  await ben.app.sync();
  assert.equal(ben.app.read("task", id)?.data["title"], "C");
  assert.equal(ben.app.read("task", id)?.version, 3, "nothing is written twice");
});

test("both change one field: it is a conflict; each its own: both count", async () => {
  const [ana, ben] = [await phone("phone-5"), await phone("phone-6", "ben")];
  const id = randomUUID();
  await ana.app.write("CREATE", "task", id, task("A"));
  await ana.app.sync();
  await ben.app.sync();
  await ana.app.write("UPDATE", "task", id, { title: "Ana's" });
  await ana.app.sync();
  await ben.app.write("UPDATE", "task", id, { status: "DONE" });
  assert.deepEqual((await ben.app.sync()).conflicts, []);
  assert.equal(ben.app.read("task", id)?.data["title"], "Ana's");
  await ana.app.write("UPDATE", "task", id, { title: "Ana's second" });
  await ana.app.sync();
  await ben.app.write("UPDATE", "task", id, { title: "Ben's" });
  const [conflict] = (await ben.app.sync()).conflicts;
  assert.ok(conflict);
  assert.equal(conflict.clientData["title"], "Ben's");
  assert.equal(conflict.serverData["title"], "Ana's second");
  // The answer to the choice is lost, and the choice made again.
  ben.wire.next("answer lost");
  await assert.rejects(ben.app.resolve(conflict.id, "CLIENT_WINS"), TypeError);
  const settled = await ben.app.resolve(conflict.id, "CLIENT_WINS");
  assert.equal(settled.entity.payload.title, "Ben's");
  assert.deepEqual(ben.store.value.conflicts, []);
  await ana.app.sync();
  assert.equal(ana.app.read("task", id)?.data["title"], "Ben's");
});

test("a new device gets everything page by page, and then only news", async () => {
  const ana = await phone("phone-7");
  const ids = Array.from({ length: 25 }, () => randomUUID());
  for (const id of ids) await ana.app.write("CREATE", "asset", id, { name: `Pump ${id}` });
  await ana.app.sync();
  const fresh = await phone("phone-8", "ben");
  assert.equal(await fresh.app.fill(["asset"], 10), 25);
  for (const id of ids) assert.ok(fresh.app.read("asset", id));
  await fresh.app.sync();
  await ana.app.write("UPDATE", "asset", ids[0] ?? "", { name: "Compressor" });
  await ana.app.sync();
  assert.equal((await fresh.app.sync()).received, 1);
});

test("the service worker sends what was queued when the network is back", async () => {
  const ana = await phone("phone-9");
  const id = randomUUID();
  // The page: writes, has no network, and asks to be woken.
  ana.wire.isCut = true;
  await ana.app.write("CREATE", "task", id, task());
  await assert.rejects(ana.app.sync(), TypeError);
  let opened = 0;
  const browser = new Browser((scope) =>
    attach(scope, async () => {
      opened += 1;
      const { session, store } = await open(site, "phone-9", empty, ana.wire);
      return new Assets(session, store);
    }),
  );
  await browser.sync.register(TAG);
  await browser.sync.register(TAG);
  // The token ended long ago, the first answer is lost, and the relay was started anew.
  await site.command(["user", "rotate-key", "--tenant", TENANT]);
  await site.kill();
  await site.up();
  ana.wire.isCut = false;
  ana.wire.next("fine", "fine", "answer lost");
  await browser.online();
  assert.equal(opened, 2);
  assert.deepEqual(browser.notifications, []);
  assert.deepEqual(await browser.sync.getTags(), []);
  const page = await open(site, "phone-9", empty, ana.wire);
  assert.equal(new Assets(page.session, page.store).read("task", id)?.isPending, false);
  const ben = await phone("phone-10", "ben");
  await ben.app.sync();
  assert.ok(ben.app.read("task", id));
});

test("the last attempt of a service worker tells the person, and the work stays queued", async () => {
  const ana = await phone("phone-11");
  await ana.app.write("CREATE", "task", randomUUID(), task());
  ana.wire.isCut = true;
  const browser = new Browser((scope) => attach(scope, async () => ana.app));
  await browser.sync.register(TAG);
  await browser.sync.register("something else");
  await browser.online();
  assert.deepEqual(browser.notifications, ["Could not sync"]);
  assert.equal(ana.store.value.queue.length, 1);
  ana.wire.isCut = false;
  assert.equal((await ana.app.sync()).sent, 1);
});

test("a device that was unregistered hears so and keeps its queue", async () => {
  const ana = await phone("phone-12");
  await ana.app.sync();
  const office = await phone("phone-13");
  const response = await office.session.send("/api/sync/devices/phone-12", { method: "DELETE" });
  assert.equal(response.status, 204);
  await ana.app.write("CREATE", "task", randomUUID(), task());
  await assert.rejects(ana.app.sync(), /403|log in again/);
  assert.equal(ana.store.value.queue.length, 1);
});

test("what is wrong is kept apart with its reason, and the rest goes on", async () => {
  const ana = await phone("phone-14");
  const id = randomUUID();
  await ana.app.write("CREATE", "2nd-hand", randomUUID(), { a: 1 });
  await ana.app.write("CREATE", "task", id, task());
  await ana.app.sync();
  assert.deepEqual(ana.store.value.queue, []);
  assert.deepEqual(ana.store.value.failed.map(({ change }) => change.entityType), ["2nd-hand"]);
  assert.match(ana.store.value.failed[0]?.error ?? "", /2nd-hand/);
});
