// A device for tests: a home of its own and the real program on it.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const PROGRAM = resolve(process.env["FIELDMESH_BIN"] ?? "../../target/debug/fieldmesh");

export class Device {
  private daemon: ChildProcess | undefined;
  /** Where other devices reach it. */
  address = "";

  private constructor(private readonly folder: string, readonly home: string) {}

  static async make(): Promise<Device> {
    if (!existsSync(PROGRAM)) {
      throw new Error(`${PROGRAM} is missing; build it by cargo build -p fieldmesh-cli`);
    }
    const folder = await mkdtemp(join(tmpdir(), "fieldmesh-electron-"));
    return new Device(folder, join(folder, "home"));
  }

  private start(words: string[]): ChildProcess {
    const env = {
      ...process.env,
      FIELDMESH_PASSPHRASE: "correct horse",
      FIELDMESH_LOG: "warn",
      XDG_RUNTIME_DIR: this.folder,
      XDG_CONFIG_HOME: this.folder,
    };
    const stdio = ["ignore", "pipe", "inherit"] as const;
    return spawn(PROGRAM, ["--home", this.home, ...words], { env, stdio: [...stdio] });
  }

  /** Runs a command to its end; gives what it printed. */
  async run(...words: string[]): Promise<string> {
    const command = this.start(words);
    let printed = "";
    command.stdout?.on("data", (bytes) => (printed += String(bytes)));
    const [code] = (await once(command, "close")) as [number];
    if (code !== 0) throw new Error(`${words.join(" ")} ended with ${code}`);
    return printed;
  }

  /** Starts the daemon and waits until it is ready. */
  async up(): Promise<void> {
    const words = ["--json", "run", "--listen", "127.0.0.1:0", "--no-mdns", "--http", "127.0.0.1:0"];
    const daemon = this.start(words);
    this.daemon = daemon;
    if (daemon.stdout === null) throw new Error("it has no output");
    for await (const line of createInterface(daemon.stdout)) {
      this.address = (JSON.parse(line) as { addresses: string[] }).addresses[0] ?? "";
      daemon.stdout.resume();
      return;
    }
    throw new Error("the daemon ended");
  }

  /** Kills the daemon. */
  async down(): Promise<void> {
    const daemon = this.daemon;
    this.daemon = undefined;
    if (daemon === undefined || daemon.exitCode !== null) return;
    daemon.kill("SIGKILL");
    await once(daemon, "exit");
  }

  async end(): Promise<void> {
    await this.down();
    await rm(this.folder, { recursive: true, force: true });
  }
}
