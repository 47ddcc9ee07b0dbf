// The rooms of the older multi-peer system, as its document describes them, on Node's own Socket.IO server: what the
// bench compares with. `node --expose-gc relay-server.mjs SECRET-FILE` says "listening on HOST:PORT" and serves until it
// is ended; SIGUSR2 collects garbage.
//
// Tokens are JSON Web Tokens (HS256) under the secret. Lost connections can be taken up again, as on the server that it
// is compared with.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Server } from "socket.io";

const secret = readFileSync(process.argv[2], "utf8").trim();
const http = createServer();
const io = new Server(http, {
  pingInterval: 25_000,
  pingTimeout: 60_000,
  connectTimeout: 45_000,
  maxHttpBufferSize: 1e6,
  cors: { origin: "*" },
  connectionStateRecovery: { maxDisconnectionDuration: 15_000, skipMiddlewares: false },
});

const callRooms = new Map(); // room -> { participants: Set of socket ids, metadata }

function userOf(token) {
  const [head, body, signature] = token.split(".");
  const expected = createHmac("sha256", secret).update(`${head}.${body}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error("bad token");
  const claims = JSON.parse(Buffer.from(body, "base64url").toString());
  if (claims.exp * 1000 < Date.now()) throw new Error("expired");
  return claims.sub;
}

io.use((socket, next) => {
  try {
    socket.data.userId = userOf(socket.handshake.auth.token);
    socket.data.rooms = new Set();
    next();
  } catch {
    next(new Error("Authentication error"));
  }
});

const now = () => new Date().toISOString();
const participant = (socket) => ({ socketId: socket.id, userId: socket.data.userId, username: socket.data.userId });

function refuse(socket, error, details) {
  socket.emit("webrtc:signaling-error", { error, details, timestamp: now() });
}

function relay(socket, event, field, { callRoomId, targetSocketId, sdpMid, sdpMLineIndex, ...rest }) {
  if (typeof callRoomId !== "string" || rest[field] === undefined) {
    return refuse(socket, "Invalid message", { callRoomId });
  }
  const room = callRooms.get(callRoomId);
  if (!room || !room.participants.has(socket.id)) return refuse(socket, "Room not found", { callRoomId });
  const said = {
    callRoomId,
    fromSocketId: socket.id,
    fromUserId: socket.data.userId,
    [field]: rest[field],
    sdpMid,
    sdpMLineIndex,
  };
  if (targetSocketId === undefined && field === "candidate") {
    socket.to(callRoomId).emit(event, said);
  } else if (room.participants.has(targetSocketId)) {
    io.to(targetSocketId).emit(event, said);
  } else {
    refuse(socket, "Participant not found", { callRoomId, targetSocketId });
  }
}

function leave(socket, callRoomId) {
  const room = callRooms.get(callRoomId);
  if (!room?.participants.delete(socket.id)) return;
  socket.data.rooms.delete(callRoomId);
  socket.leave(callRoomId);
  socket.to(callRoomId).emit("webrtc:participant-left", { callRoomId, participant: participant(socket) });
  if (room.participants.size === 0) callRooms.delete(callRoomId);
}

io.on("connection", (socket) => {
  socket.on("webrtc:join-room", ({ callRoomId, callType, metadata }) => {
    const details = { callType: callType ?? "audio", createdAt: now(), createdBy: socket.id, ...metadata };
    if (!callRooms.has(callRoomId)) callRooms.set(callRoomId, { participants: new Set(), metadata: details });
    const room = callRooms.get(callRoomId);
    const existingParticipants = [...room.participants].map((id) => participant(io.sockets.sockets.get(id)));
    room.participants.add(socket.id);
    socket.data.rooms.add(callRoomId);
    socket.join(callRoomId);
    socket.to(callRoomId).emit("webrtc:participant-joined", { callRoomId, participant: participant(socket) });
    const participantCount = room.participants.size;
    socket.emit("webrtc:room-joined", { callRoomId, participantCount, existingParticipants, metadata: room.metadata });
  });
  socket.on("webrtc:leave-room", ({ callRoomId }) => {
    leave(socket, callRoomId);
    socket.emit("webrtc:room-left", { callRoomId });
  });
  socket.on("webrtc:offer", (message) => relay(socket, "webrtc:offer", "offer", message));
  socket.on("webrtc:answer", (message) => relay(socket, "webrtc:answer", "answer", message));
  socket.on("webrtc:ice-candidate", (message) => relay(socket, "webrtc:ice-candidate", "candidate", message));
  socket.on("disconnecting", () => {
    for (const room of [...socket.data.rooms]) leave(socket, room);
  });
});

process.on("SIGUSR2", () => globalThis.gc?.());
http.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${http.address().port}`));
