// Multi-peer rooms: who comes later offers to those who are there. `start({url, token, room})`.

window.start = ({ url, token, room }) => {
  const socket = io(url, { auth: { token } });
  const peers = new Map();

  async function connect(other) {
    if (peers.has(other)) return peers.get(other);
    const connection = await sound.createPeerConnection((candidate) => {
      const { sdpMid, sdpMLineIndex } = candidate;
      socket.emit("webrtc:ice-candidate", { callRoomId: room, targetSocketId: other, candidate, sdpMid, sdpMLineIndex });
    });
    const peer = { connection, candidates: sound.candidateQueue(connection) };
    peers.set(other, peer);
    return peer;
  }

  socket.on("connect", () => socket.emit("webrtc:join-room", { callRoomId: room, callType: "audio" }));
  socket.on("webrtc:room-joined", sound.inOrder(async ({ existingParticipants }) => {
    window.joined = true;
    for (const { socketId } of existingParticipants) {
      const { connection } = await connect(socketId);
      const offer = await connection.createOffer();
      await connection.setLocalDescription(offer);
      socket.emit("webrtc:offer", { callRoomId: room, targetSocketId: socketId, offer });
    }
  }));
  socket.on("webrtc:offer", sound.inOrder(async ({ fromSocketId, offer }) => {
    const peer = await connect(fromSocketId);
    await peer.connection.setRemoteDescription(offer);
    await peer.candidates.flush();
    const answer = await peer.connection.createAnswer();
    await peer.connection.setLocalDescription(answer);
    socket.emit("webrtc:answer", { callRoomId: room, targetSocketId: fromSocketId, answer });
  }));
  socket.on("webrtc:answer", sound.inOrder(async ({ fromSocketId, answer }) => {
    const peer = await connect(fromSocketId);
    await peer.connection.setRemoteDescription(answer);
    await peer.candidates.flush();
  }));
  socket.on("webrtc:ice-candidate", sound.inOrder(async ({ fromSocketId, candidate }) => {
    await (await connect(fromSocketId)).candidates.add(candidate);
  }));
  socket.on("webrtc:signaling-error", ({ error }) => sound.faults.push(error));
};
