//! What the page can ask for. Each command sends one value to the controller and does nothing else; what comes of it is
//! in the next view. Each is allowed by name in `permissions/`.

use crate::controller::{Ask, Controls};
use crate::view_model::{Because, Complaint, Pick, ProcessingChoice};
use bellwire_client::signaling::limits::CHAT_TEXT;
use bellwire_client::{BookingId, Handle};
use tauri::State;

type Controller<'a> = State<'a, Controls>;
/// The refusal is for the page's console: a person can do nothing about it.
type Sent = Result<(), &'static str>;

async fn send(controller: Controller<'_>, ask: Ask) -> Sent {
    if controller.ask(ask).await { Ok(()) } else { Err("the app is ending") }
}

#[tauri::command]
pub async fn page_ready(controller: Controller<'_>) -> Sent {
    send(controller, Ask::PageReady).await
}

#[tauri::command]
pub async fn sign_in(controller: Controller<'_>, link: String) -> Sent {
    send(controller, Ask::SignIn(link)).await
}

#[tauri::command]
pub async fn find_people(controller: Controller<'_>, server: String) -> Sent {
    send(controller, Ask::FindPeople(server)).await
}

#[tauri::command]
pub async fn sign_in_as(controller: Controller<'_>, person: usize) -> Sent {
    send(controller, Ask::SignInAs(person)).await
}

#[tauri::command]
pub async fn sign_out(controller: Controller<'_>) -> Sent {
    send(controller, Ask::SignOut).await
}

#[tauri::command]
pub async fn call(controller: Controller<'_>, booking: String) -> Sent {
    let booking = BookingId::new(booking).map_err(|_| "this is no booking's id")?;
    send(controller, Ask::Call(booking)).await
}

#[tauri::command]
pub async fn accept(controller: Controller<'_>) -> Sent {
    send(controller, Ask::Accept).await
}

#[tauri::command]
pub async fn decline(controller: Controller<'_>, because: Because) -> Sent {
    send(controller, Ask::Decline(because)).await
}

#[tauri::command]
pub async fn hang_up(controller: Controller<'_>) -> Sent {
    send(controller, Ask::HangUp).await
}

#[tauri::command]
pub async fn toggle_mute(controller: Controller<'_>) -> Sent {
    send(controller, Ask::ToggleMute).await
}

#[tauri::command]
pub async fn unmute(controller: Controller<'_>) -> Sent {
    send(controller, Ask::Unmute).await
}

#[tauri::command]
pub async fn talk(controller: Controller<'_>, held: bool) -> Sent {
    send(controller, Ask::Talk(held)).await
}

#[tauri::command]
pub async fn dismiss(controller: Controller<'_>) -> Sent {
    send(controller, Ask::Dismiss).await
}

#[tauri::command]
pub async fn check(controller: Controller<'_>, on: bool) -> Sent {
    send(controller, Ask::Check(on)).await
}

#[tauri::command]
pub async fn test_sound(controller: Controller<'_>) -> Sent {
    send(controller, Ask::TestSound).await
}

#[tauri::command]
pub async fn start_check(controller: Controller<'_>) -> Sent {
    send(controller, Ask::StartCheck).await
}

#[tauri::command]
pub async fn stop_check(controller: Controller<'_>) -> Sent {
    send(controller, Ask::StopCheck).await
}

#[tauri::command]
pub async fn look_at_check(controller: Controller<'_>) -> Sent {
    send(controller, Ask::LookAtCheck).await
}

#[tauri::command]
pub async fn save_report(controller: Controller<'_>) -> Sent {
    send(controller, Ask::SaveReport).await
}

#[tauri::command]
pub async fn set_relay_only(controller: Controller<'_>, on: bool) -> Sent {
    send(controller, Ask::RelayOnly(on)).await
}

#[tauri::command]
pub async fn set_input(controller: Controller<'_>, pick: Pick) -> Sent {
    send(controller, Ask::SetInput(pick)).await
}

#[tauri::command]
pub async fn set_output(controller: Controller<'_>, pick: Pick) -> Sent {
    send(controller, Ask::SetOutput(pick)).await
}

#[tauri::command]
pub async fn set_ring(controller: Controller<'_>, pick: Pick) -> Sent {
    send(controller, Ask::SetRing(pick)).await
}

#[tauri::command]
pub async fn use_held_output(controller: Controller<'_>) -> Sent {
    send(controller, Ask::UseHeldOutput).await
}

#[tauri::command]
pub async fn set_processing(controller: Controller<'_>, choice: ProcessingChoice) -> Sent {
    send(controller, Ask::SetProcessing(choice)).await
}

#[tauri::command]
pub async fn more_history(controller: Controller<'_>) -> Sent {
    send(controller, Ask::MoreHistory).await
}

#[tauri::command]
pub async fn open_microphone_settings(controller: Controller<'_>) -> Sent {
    send(controller, Ask::OpenMicrophoneSettings).await
}

#[tauri::command]
pub async fn search(controller: Controller<'_>) -> Sent {
    send(controller, Ask::Search).await
}

#[tauri::command]
pub async fn stop_searching(controller: Controller<'_>) -> Sent {
    send(controller, Ask::StopSearching).await
}

#[tauri::command]
pub async fn next_person(controller: Controller<'_>) -> Sent {
    send(controller, Ask::NextPerson).await
}

#[tauri::command]
pub async fn block(controller: Controller<'_>) -> Sent {
    send(controller, Ask::Block).await
}

#[tauri::command]
pub async fn report(controller: Controller<'_>, complaint: Complaint) -> Sent {
    send(controller, Ask::Report(complaint)).await
}

#[tauri::command]
pub async fn enter_room(controller: Controller<'_>) -> Sent {
    send(controller, Ask::EnterRoom).await
}

#[tauri::command]
pub async fn leave(controller: Controller<'_>) -> Sent {
    send(controller, Ask::Leave).await
}

#[tauri::command]
pub async fn lock_room(controller: Controller<'_>, locked: bool) -> Sent {
    send(controller, Ask::LockRoom(locked)).await
}

#[tauri::command]
pub async fn remove_member(controller: Controller<'_>, member: String) -> Sent {
    let member = Handle::new(member).map_err(|_| "this is nobody's handle")?;
    send(controller, Ask::RemoveMember(member)).await
}

#[tauri::command]
pub async fn open_text(controller: Controller<'_>, open: bool) -> Sent {
    send(controller, Ask::OpenText(open)).await
}

#[tauri::command]
pub async fn say(controller: Controller<'_>, text: String) -> Sent {
    let text = text.trim();
    if text.is_empty() || text.len() > CHAT_TEXT {
        return Err("this is no line of text");
    }
    send(controller, Ask::Say(text.to_owned())).await
}

#[tauri::command]
pub async fn keep_text(controller: Controller<'_>, keep: bool) -> Sent {
    send(controller, Ask::KeepText(keep)).await
}
