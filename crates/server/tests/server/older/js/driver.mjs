// Drives the older apps' own client libraries by lines of JSON, for the tests in Rust (`older::Client`).
//
// In:  {"id":1,"do":"open","socket":"a",...}            Each line is answered: {"id":1,"value":...} or {"id":1,"fault":"..."}.
// Out: {"socket":"a","event":"partner_found","args":[]}  What a socket hears, also "connect", "disconnect", "connect_error".
// Binary stands as {"$binary":"<base64>"} both ways.

import { createInterface } from "node:readline";
import { io as newest } from "socket.io-client";
import { io as before } from "socket.io-client-4.5";
import WebSocket from "ws";

const sockets = new Map();

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function packed(value) {
  if (value instanceof ArrayBuffer) return { $binary: Buffer.from(value).toString("base64") };
  if (ArrayBuffer.isView(value)) {
    return { $binary: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  if (Array.isArray(value)) return value.map(packed);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, packed(inner)]));
  }
  return value === undefined ? null : value;
}

function unpacked(value) {
  if (Array.isArray(value)) return value.map(unpacked);
  if (value && typeof value === "object") {
    if (typeof value.$binary === "string") return Buffer.from(value.$binary, "base64");
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpacked(inner)]));
  }
  return value;
}

// The server's last argument of each event is its offset; an app's own handlers do not look at it.
function withoutOffset(args) {
  const last = args.at(-1);
  return typeof last === "string" && /^\d+$/.test(last) ? args.slice(0, -1) : args;
}

function open({ socket: key, url, namespace, version, auth, beside, ...options }) {
  const manager = beside && sockets.get(beside).io;
  const socket = manager
    ? manager.socket(namespace, { auth })
    : (version === "4.5" ? before : newest)(url + namespace, { auth, forceNew: true, autoConnect: false, ...options });
  const hear = (event, args) => say({ socket: key, event, args: packed(args) });
  socket.on("connect", () => hear("connect", [{ id: socket.id, recovered: socket.recovered ?? false }]));
  socket.on("disconnect", (reason) => hear("disconnect", [reason]));
  socket.on("connect_error", (e) => hear("connect_error", [{ message: e.message, data: e.data }]));
  socket.onAny((event, ...args) => hear(event, withoutOffset(args)));
  sockets.set(key, socket);
  socket.connect();
}

function openPlain({ socket: key, url, headers, protocols }) {
  const socket = new WebSocket(url, protocols ?? [], { headers });
  const hear = (event, ...args) => say({ socket: key, event, args: packed(args) });
  socket.on("open", () => hear("open"));
  socket.on("message", (data, isBinary) => hear("message", isBinary ? data : data.toString()));
  socket.on("close", (code, reason) => hear("close", code, reason.toString()));
  socket.on("unexpected-response", (request, response) => {
    hear("refused", response.statusCode);
    request.destroy();
  });
  socket.on("error", (e) => hear("error", e.message));
  sockets.set(key, socket);
}

// The transport goes without a word to the server, as with a lost network.
function killTransport(socket) {
  const { transport } = socket.io.engine;
  if (transport.name === "websocket") transport.ws.terminate();
  else transport.onClose();
}

const work = {
  open,
  openPlain,
  emit: ({ socket, event, args }) => void sockets.get(socket).emit(event, ...unpacked(args)),
  emitMany: ({ socket, event, each }) => {
    for (const arg of each) sockets.get(socket).emit(event, unpacked(arg));
  },
  emitAck: ({ socket, event, args }) =>
    new Promise((done) => sockets.get(socket).emit(event, ...unpacked(args), (...answer) => done(packed(answer)))),
  look: ({ socket }) => {
    const { id, connected, recovered, io } = sockets.get(socket);
    return { id, connected, recovered: recovered ?? false, transport: io.engine?.transport?.name, session: io.engine?.id };
  },
  connect: ({ socket, auth }) => {
    if (auth !== null) sockets.get(socket).auth = auth;
    sockets.get(socket).connect();
  },
  disconnect: ({ socket }) => void sockets.get(socket).disconnect(),
  closeEngine: ({ socket }) => void sockets.get(socket).io.engine.close(),
  killTransport: ({ socket }) => killTransport(sockets.get(socket)),
  reconnection: ({ socket, on }) => void sockets.get(socket).io.reconnection(on),
  send: ({ socket, data }) => void sockets.get(socket).send(unpacked(data)),
  pausePlain: ({ socket }) => void sockets.get(socket).pause(),
  closePlain: ({ socket, code }) => void sockets.get(socket).close(code),
  terminatePlain: ({ socket }) => void sockets.get(socket).terminate(),
};

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, do: what, ...rest } = JSON.parse(line);
  try {
    say({ id, value: (await work[what](rest)) ?? null });
  } catch (e) {
    say({ id, fault: String(e?.stack ?? e) });
  }
}).on("close", () => process.exit(0));
