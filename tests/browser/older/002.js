// The channel relay on a plain WebSocket: of two the one with the lower id offers. `start({url, token, user, room})`.

window.start = ({ url, token, user, room }) => {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/ws`);
  const peers = new Map();
  const send = (message) => socket.send(JSON.stringify(message));
  const signal = (type, toUserId, fields) => {
    send({ type, channel: "webrtc-signaling", data: { fromUserId: user, toUserId, ...fields } });
  };

  async function connect(other) {
    if (peers.has(other)) return peers.get(other);
    const connection = await sound.createPeerConnection((candidate) => signal("webrtc-ice", other, { candidate }));
    const peer = { connection, candidates: sound.candidateQueue(connection) };
    peers.set(other, peer);
    if (user < other) {
      const offer = await connection.createOffer();
      await connection.setLocalDescription(offer);
      signal("webrtc-offer", other, { offer });
    }
    return peer;
  }

  socket.onopen = () => {
    if (token) send({ type: "auth", token });
    for (const channel of ["webrtc-dashboard-rooms", "webrtc-dashboard-chat", "webrtc-signaling"]) {
      send({ type: "subscribe", channel });
    }
    send({ type: "user-joined-room", channel: "webrtc-dashboard-rooms", data: { roomId: room, userId: user } });
  };
  socket.onmessage = sound.inOrder(async ({ data }) => {
    const message = JSON.parse(data);
    const fields = { ...message, ...message.data };
    switch (message.type) {
      case "user-joined-room":
        for (const other of fields.userId === user ? fields.existingParticipants : [fields.userId]) await connect(other);
        return;
      case "webrtc-offer": {
        const peer = await connect(fields.fromUserId);
        await peer.connection.setRemoteDescription(fields.offer);
        await peer.candidates.flush();
        const answer = await peer.connection.createAnswer();
        await peer.connection.setLocalDescription(answer);
        signal("webrtc-answer", fields.fromUserId, { answer });
        return;
      }
      case "webrtc-answer": {
        const peer = await connect(fields.fromUserId);
        await peer.connection.setRemoteDescription(fields.answer);
        await peer.candidates.flush();
        return;
      }
      case "webrtc-ice":
        return (await connect(fields.fromUserId)).candidates.add(fields.candidate);
      case "error":
        sound.faults.push(message.code);
        return;
      default:
    }
  });
};
