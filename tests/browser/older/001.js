// The random chat gateway. `start({url, token})`.

window.start = ({ url, token }) => {
  const socket = io(`${url}/random-chat`, { transports: ["websocket"], auth: { token } });
  let ready = null;

  socket.on("connect", () => socket.emit("find-partner"));
  socket.on("match-found", sound.inOrder(async ({ role }) => {
    const connection = await sound.createPeerConnection((candidate) => {
      socket.emit("signal-ice-candidate", { candidate });
    });
    ready = { connection, candidates: sound.candidateQueue(connection) };
    if (role !== "initiator") return;
    const offer = await connection.createOffer();
    await connection.setLocalDescription(offer);
    socket.emit("signal-offer", { offer });
  }));
  socket.on("signal-offer", sound.inOrder(async ({ offer }) => {
    await ready.connection.setRemoteDescription(offer);
    await ready.candidates.flush();
    const answer = await ready.connection.createAnswer();
    await ready.connection.setLocalDescription(answer);
    socket.emit("signal-answer", { answer });
  }));
  socket.on("signal-answer", sound.inOrder(async ({ answer }) => {
    await ready.connection.setRemoteDescription(answer);
    await ready.candidates.flush();
  }));
  socket.on("signal-ice-candidates-batch", sound.inOrder(async ({ candidates }) => {
    for (const candidate of candidates) await ready.candidates.add(candidate);
  }));
  socket.on("error", (e) => sound.faults.push(e.message));
};
