// A relay and devices for tests: folders of their own and the real programs on them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const BUILT = resolve(process.env["FIELDMESH_PROGRAMS"] ?? join(HERE, "../../../target/debug"));

export const TENANT = "cedar-creek";
export const PASSWORD = "correct horse battery";

/** Limits that no test reaches by chance. */
const LIMITS = ["--address-requests-a-second", "10000", "--sync-requests-a-minute", "10000"];

/**
 * @param {string} name
 * @returns {string}
 */
function program(name) {
  const path = join(BUILT, name);
  if (existsSync(path)) return path;
  throw new Error(`${path} is missing; build it by cargo build -p fieldmesh-cli -p sync-relay`);
}

/** A folder with a relay that is a tenant's gateway. */
export class Site {
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #relay;
  /** @type {{ http: string, quic: string }} */
  #ready = { http: "", quic: "" };
  /** How many devices there are. */
  #devices = 0;

  /** @param {string} folder */
  constructor(folder) {
    this.folder = folder;
  }

  static async make() {
    const site = new Site(await mkdtemp(join(tmpdir(), "fm-apps-")));
    for (const name of ["run", "config"]) await mkdir(join(site.folder, name));
    await site.command(["tenant", "create", "Cedar Creek", "--gateway"]);
    return site;
  }

  /** Where the relay serves apps at the moment. */
  get url() {
    return `http://${this.#ready.http}`;
  }

  /**
   * Runs a command of the relay to its end.
   * @param {string[]} words
   * @param {string} [input]
   */
  command(words, input) {
    const all = ["--data", join(this.folder, "data"), ...words];
    return this.#run("sync-relay", all, input);
  }

  /**
   * Adds somebody who may log in.
   * @param {string} email
   * @param {string} role
   * @param {string[]} [more]
   */
  async person(email, role, more = []) {
    const words = ["user", "add", "--tenant", TENANT, email, "--role", role, "--password-stdin"];
    await this.command([...words, ...more], `${PASSWORD}\n`);
  }

  /**
   * Starts the relay and waits until it is ready.
   * @param {string[]} [limits]
   */
  async up(limits = LIMITS) {
    const any = "127.0.0.1:0";
    const run = ["run", "--public", "127.0.0.1", "--http", any, "--quic", any, ...limits];
    const relay = this.#start("sync-relay", ["--data", join(this.folder, "data"), "--json", ...run]);
    this.#relay = relay;
    relay.stdin?.end();
    if (relay.stdout === null) throw new Error("it has no output");
    for await (const line of createInterface(relay.stdout)) {
      this.#ready = JSON.parse(line);
      relay.stdout.resume();
      return;
    }
    throw new Error("the relay ended");
  }

  /** Kills the relay. */
  async kill() {
    const relay = this.#relay;
    this.#relay = undefined;
    if (relay === undefined || relay.exitCode !== null) return;
    relay.kill("SIGKILL");
    await once(relay, "exit");
  }

  /**
   * A device of the tenant, invited by the running relay.
   * @param {string} role
   */
  async device(role) {
    this.#devices += 1;
    const device = new Device(this, join(this.folder, `device-${this.#devices}`));
    const invite = ["--json", "invite", "--tenant", TENANT, "--role", role];
    const invited = await this.command([...invite, "--user", `device-${this.#devices}@example.org`]);
    const { invitation } = JSON.parse(/** @type {string} */ (invited.split("\n")[0]));
    await device.run("join", invitation, "--device", `device-${this.#devices}`);
    return device;
  }

  /** Where devices reach the relay. */
  get address() {
    return this.#ready.quic;
  }

  async end() {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  /**
   * @param {string} name
   * @param {string[]} words
   * @param {string} [input]
   * @returns {Promise<string>} what it printed
   */
  async #run(name, words, input = "") {
    const command = this.#start(name, words);
    command.stdin?.end(input);
    let printed = "";
    command.stdout?.on("data", (bytes) => (printed += String(bytes)));
    const [code] = /** @type {[number]} */ (await once(command, "close"));
    if (code !== 0) throw new Error(`${name} ${words.join(" ")} ended with ${code}`);
    return printed;
  }

  /**
   * @param {string} home
   * @param {string[]} words
   */
  runDevice(home, words) {
    return this.#run("fieldmesh", ["--home", home, ...words]);
  }

  /**
   * @param {string} name
   * @param {string[]} words
   */
  #start(name, words) {
    const env = {
      PATH: process.env["PATH"],
      HOME: this.folder,
      XDG_RUNTIME_DIR: join(this.folder, "run"),
      XDG_CONFIG_HOME: join(this.folder, "config"),
      FIELDMESH_PASSPHRASE: "a long walk to the well",
      FIELDMESH_LOG: "error",
      SYNC_RELAY_LOG: "error",
    };
    return spawn(program(name), words, { env, stdio: ["pipe", "pipe", "inherit"] });
  }
}

/** A device by its commands, without a daemon. */
export class Device {
  #site;
  #home;

  /**
   * @param {Site} site
   * @param {string} home
   */
  constructor(site, home) {
    this.#site = site;
    this.#home = home;
  }

  /** @param {string[]} words */
  run(...words) {
    return this.#site.runDevice(this.#home, words);
  }

  /**
   * Records something; gives its id.
   * @param {string} collection
   * @param {string[]} values
   */
  async record(collection, ...values) {
    return (await this.run("record", collection, ...values)).trim();
  }

  sync() {
    return this.run("sync", "--no-mdns", "--timeout", "60", "--with", this.#site.address);
  }

  /**
   * What it holds of a collection.
   * @param {string} collection
   * @returns {Promise<any[]>}
   */
  async export(collection) {
    const lines = (await this.run("export", collection)).split("\n");
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line));
  }
}
