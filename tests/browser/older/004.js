// Booking calls: both connect after the accept; the caller offers. `start({url, token, booking, calls})`.

window.start = ({ url, token, booking, calls }) => {
  const socket = io(url, { auth: { token } });
  const say = (event, fields = {}) => socket.emit(event, { bookingId: booking, ...fields });
  let ready = null;

  async function connect() {
    const connection = await sound.createPeerConnection((candidate) => say("call:ice-candidate", { candidate }));
    ready = { connection, candidates: sound.candidateQueue(connection) };
  }
  async function offer() {
    const description = await ready.connection.createOffer();
    await ready.connection.setLocalDescription(description);
    say("call:offer", { offer: description });
  }

  // The other may not be there yet: it rings when they are.
  socket.on("connect", () => calls && say("call:start"));
  socket.on("call:incoming", sound.inOrder(async () => {
    await connect();
    say("call:accept");
  }));
  socket.on("call:accepted", sound.inOrder(async () => {
    await connect();
    await offer();
  }));
  socket.on("call:offer", sound.inOrder(async (message) => {
    await ready.connection.setRemoteDescription(message.offer);
    await ready.candidates.flush();
    const answer = await ready.connection.createAnswer();
    await ready.connection.setLocalDescription(answer);
    say("call:answer", { answer });
  }));
  socket.on("call:answer", sound.inOrder(async ({ answer }) => {
    await ready.connection.setRemoteDescription(answer);
    await ready.candidates.flush();
  }));
  socket.on("call:ice-candidate", sound.inOrder(({ candidate }) => ready.candidates.add(candidate)));
  socket.on("call:reconnect", sound.inOrder(async ({ offers }) => {
    ready.connection.close();
    await connect();
    if (offers) await offer();
  }));
  for (const end of ["call:ended", "call:rejected", "call:missed"]) {
    socket.on(end, ({ reason }) => (window.ending = reason));
  }
  socket.on("call:error", ({ event, code }) => sound.faults.push(`${event}: ${code}`));
};
