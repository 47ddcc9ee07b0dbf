//! What can be chosen for the sound, and what is said of it in a call.

use crate::app::{App, Devices, MICROPHONE, SPEAKER};
use crate::support::{assert_heard, folder, until};
use crate::{Pair, call_and_accept, mute, no_error_logged, said};
use anyhow::{Result, ensure};
use bellwire_client::recording::level_dbfs;
use thirtyfour::prelude::*;
use xtask::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_chosen_for_the_sound_outlasts_a_restart() -> Result<()> {
    let dir = folder("windows/sound")?;
    let server = Server::start("debug", &dir)?;
    let seeded = server.seed_demo()?;
    let data = dir.join("data").display().to_string();
    let arguments = [seeded.client.link.as_str(), "--data-dir", &data];

    let app = App::open(&dir, "client", &arguments, Devices::Both).await?;
    settings(&app).await?;
    ensure!(app.property("#noise-suppression", "value").await? == "standard", "another strength at the first start");
    app.choose("#noise-suppression", "strong").await?;
    app.choose("#ring-device", r#"{"kind":"default"}"#).await?;
    app.press("#original-sound").await?;
    until("what does not apply cannot be changed", async || Ok(does_not_apply(&app).await?.then_some(()))).await?;
    println!("of the others: {}", app.sentence("#processing-idle").await?);
    app.picture("sound", "1-original-sound")?;
    drop(app);

    let again = App::open(&dir, "client-again", &arguments, Devices::Both).await?;
    settings(&again).await?;
    until("the choices are as they were", async || {
        let strength = again.property("#noise-suppression", "value").await?;
        let ring = again.property("#ring-device", "value").await?;
        let original = again.web.find(By::Css("#original-sound")).await?.is_selected().await?;
        Ok((strength == "strong" && ring == r#"{"kind":"default"}"# && original).then_some(()))
    })
    .await?;
    again.press("#original-sound").await?;
    until("the others apply again", async || Ok((!does_not_apply(&again).await?).then_some(()))).await?;
    ensure!(again.property("#noise-suppression", "value").await? == "strong", "original sound has changed a choice");
    no_error_logged(&[&again], &server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_speaks_while_muted_is_told_and_is_heard_after_one_press() -> Result<()> {
    let Pair { dir, speeches, server, seeded, client, provider } =
        Pair::open("windows/speaks-muted", Devices::Both).await?;
    call_and_accept(&client, &provider, &seeded).await?;

    mute(&client).await?;
    let talk = client.desk.sound.play(MICROPHONE, &speeches.client)?;
    client.notice("you_speak_muted").await?;
    client.picture("speaks-muted", "1-told")?;
    client.press("[data-offer=unmute]").await?;
    client.no_notice("you_speak_muted").await?;
    ensure!(client.mark("#mute", "aria-pressed").await? == "false", "it says nothing, and is muted still");
    drop(talk);

    let heard = said(&client, &speeches.client, &provider, SPEAKER, &dir.join("provider-hears.wav"))?;
    assert_heard("the provider hears the client", &speeches.client, &heard)?;
    client.press("#hang-up").await?;
    provider.on("ended").await?;
    no_error_logged(&[&client, &provider], &server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_headset_that_is_pulled_out_leaves_silence_until_the_person_plays_aloud() -> Result<()> {
    let Pair { dir, speeches, server, seeded, client, provider } =
        Pair::open("windows/headset-gone", Devices::Both).await?;
    let headset = client.desk.sound.plug_speaker("headset")?;
    call_and_accept(&client, &provider, &seeded).await?;
    let worn = said(&provider, &speeches.provider, &client, "headset", &dir.join("client-wears.wav"))?;
    assert_heard("the client hears the provider in the headset", &speeches.provider, &worn)?;

    client.desk.sound.unplug(headset)?;
    client.desk.sound.pactl(&["set-default-sink", SPEAKER])?;
    client.notice("speaker_held").await?;
    until("the loudspeaker is offered by its name", async || {
        Ok(client.text("[data-offer=play-aloud]").await?.contains(SPEAKER).then_some(()))
    })
    .await?;
    client.picture("headset-gone", "1-held")?;
    let aloud = said(&provider, &speeches.provider, &client, SPEAKER, &dir.join("client-hears-nothing.wav"))?;
    let level = level_dbfs(&aloud, 0, 60_000)?;
    ensure!(level < -70.0, "{level:.0} dBFS are played aloud, and nobody has said so");

    client.press("[data-offer=play-aloud]").await?;
    client.no_notice("speaker_held").await?;
    let aloud = said(&provider, &speeches.provider, &client, SPEAKER, &dir.join("client-hears.wav"))?;
    assert_heard("the client hears the provider aloud", &speeches.provider, &aloud)?;
    client.press("#hang-up").await?;
    provider.on("ended").await?;
    no_error_logged(&[&client, &provider], &server)
}

/// The driver looks at an element's own mark alone, not at that of the group around it.
async fn does_not_apply(app: &App) -> Result<bool> {
    let disabled = "return document.querySelector('#noise-suppression').matches(':disabled')";
    Ok(app.web.execute(disabled, []).await?.json() == true)
}

async fn settings(app: &App) -> Result<()> {
    app.on("home").await?;
    app.press("#check").await?;
    app.on("check").await
}
