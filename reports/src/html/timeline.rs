//! The timeline: a lane per fault, leader changes, and the ISR.

use maud::{Markup, html};

use crate::record::{FaultEntry, RunState};
use crate::run_data::RunData;

use super::canvas::{Anchor, Canvas, DrawError};
use super::cluster::ClusterHistory;
use super::figure::{Figure, area_sign, tick_sign};
use super::format;
use super::palette::Ink;
use super::table::{self, numbers, words};
use super::view::{LEFT_PX, RIGHT_PX, View};

const TOP_PX: i32 = 70;
const LANE_PX: i32 = 78;
/// From the top of a lane to the middle of its text.
const LANE_TEXT_PX: i32 = 20;
/// From the top of a lane to its bar, and how high that is.
const BAR_TOP_PX: i32 = 38;
const BAR_PX: i32 = 28;
const FOOT_PX: i32 = 48;
/// Rows of the table of leader changes.
const LEADER_CHANGES_MAX: usize = 100;

/// The timeline of a run; nothing if neither faults nor the cluster are on record.
pub(super) fn figure(data: &RunData, view: &View) -> Markup {
    let history = ClusterHistory::new(&data.cluster);
    if data.record.faults.is_empty() && history.partitions == 0 {
        return html! {};
    }
    let drawn: Vec<(usize, &FaultEntry)> = data.record.faults.iter().enumerate().collect();
    let picture = draw(&drawn, &history, view);
    Figure {
        id: "timeline",
        title: "What happened when",
        finding: finding(data, &history),
        how_to_read: "each fault has a lane and a number, which all charts below show at its edge, with the same \
                      shading: from its injection until its heal began, and the recovery from it. The lanes of \
                      leaders and ISR are what the cluster's metadata said.",
        legend: legend(view, &data.record.faults, &history),
        picture,
        numbers: html! { (moments_table(data)) (leader_table(&history)) },
    }
    .render()
}

fn draw(faults: &[(usize, &FaultEntry)], history: &ClusterHistory, view: &View) -> Result<String, DrawError> {
    let cluster_lanes = if history.partitions > 0 { 2 } else { 0 };
    let lanes = i32::try_from(faults.len()).unwrap_or(i32::MAX / LANE_PX).saturating_add(cluster_lanes);
    let bottom_px = TOP_PX + lanes * LANE_PX;
    Canvas::draw(bottom_px + FOOT_PX, |canvas| {
        view.draw_bands(canvas, TOP_PX, bottom_px)?;
        view.draw_time_axis(canvas, TOP_PX, bottom_px)?;
        let mut top_px = TOP_PX;
        for (index, fault) in faults {
            draw_fault(canvas, view, *index + 1, fault, top_px)?;
            top_px += LANE_PX;
        }
        if history.partitions > 0 {
            draw_leaders(canvas, view, history, top_px)?;
            draw_isr(canvas, view, history, top_px + LANE_PX)?;
        }
        Ok(())
    })
}

fn draw_fault(
    canvas: &Canvas<'_>,
    view: &View,
    number: usize,
    fault: &FaultEntry,
    top_px: i32,
) -> Result<(), DrawError> {
    let (bar_top, bar_bottom) = (top_px + BAR_TOP_PX, top_px + BAR_TOP_PX + BAR_PX);
    canvas.line(Ink::Grid, 2, &[(0, top_px), (RIGHT_PX, top_px)])?;
    canvas.text(Anchor::End, (LEFT_PX - 12, bar_top + BAR_PX / 2), &format!("#{number}"))?;
    let at = &fault.at_s;
    let begin_px = view.x_px(at.injected.unwrap_or(at.planned));
    let told = match at.injected {
        Some(_) => format!("{} · {}", fault.name, fault.action),
        None => format!("{} · {} · never injected", fault.name, fault.action),
    };
    lane_text(canvas, begin_px + 6, top_px, &format::shortened(&told, 90))?;
    let parts = [
        (Ink::BarWait, at.injected, at.took_effect),
        (Ink::BarActs, at.took_effect, at.heal_began),
        (Ink::BarHeals, at.heal_began, at.healed),
        (Ink::BarIsr, at.healed, at.isr_full),
    ];
    for (ink, from, to) in parts {
        // A part that never ended goes on to the end of the axis; one whose next moment is known does not.
        let Some(from_s) = from else { continue };
        let to_s = match (ink, to) {
            (_, Some(to_s)) => to_s,
            (Ink::BarIsr, None) => continue,
            (Ink::BarWait, None) => at.heal_began.unwrap_or(view.to_s),
            (_, None) => view.to_s,
        };
        if to_s > from_s {
            canvas.bar(ink, (view.x_px(from_s), bar_top), (view.x_px(to_s), bar_bottom))?;
        }
    }
    Ok(())
}

/// Text of a lane: from its bar on or, where that is too far right, up to the edge.
fn lane_text(canvas: &Canvas<'_>, begin_px: i32, top_px: i32, text: &str) -> Result<(), DrawError> {
    let y = top_px + LANE_TEXT_PX;
    if begin_px + Canvas::text_width_px(text) < RIGHT_PX {
        canvas.text(Anchor::Start, (begin_px, y), text)
    } else {
        canvas.text(Anchor::End, (RIGHT_PX, y), text)
    }
}

fn draw_leaders(
    canvas: &Canvas<'_>,
    view: &View,
    history: &ClusterHistory,
    top_px: i32,
) -> Result<(), DrawError> {
    let (bar_top, bar_bottom) = (top_px + BAR_TOP_PX, top_px + BAR_TOP_PX + BAR_PX);
    canvas.line(Ink::Grid, 2, &[(0, top_px), (RIGHT_PX, top_px)])?;
    canvas.text(Anchor::End, (LEFT_PX - 12, bar_top + BAR_PX / 2), "leaders")?;
    for (step, end_s) in history.spans(view.to_s).filter(|(step, _)| step.leaderless > 0) {
        canvas.bar(Ink::BarWait, (view.x_px(step.t_s), bar_top), (view.x_px(end_s), bar_bottom))?;
    }
    let mut places_px: Vec<i32> = history.leader_changes.iter().map(|c| view.x_px(c.t_s)).collect();
    places_px.sort_unstable();
    let shown = places_px.first().copied().unwrap_or(LEFT_PX + 8);
    places_px.dedup();
    for x in places_px {
        canvas.line(Ink::Blue, 4, &[(x, bar_top - 6), (x, bar_bottom + 6)])?;
    }
    let n = history.leader_changes.len() as u64;
    lane_text(canvas, shown, top_px, &format::plural(n, "leader change", "leader changes"))
}

fn draw_isr(
    canvas: &Canvas<'_>,
    view: &View,
    history: &ClusterHistory,
    top_px: i32,
) -> Result<(), DrawError> {
    let bar_bottom = top_px + BAR_TOP_PX + BAR_PX;
    canvas.line(Ink::Grid, 2, &[(0, top_px), (RIGHT_PX, top_px)])?;
    canvas.text(Anchor::End, (LEFT_PX - 12, bar_bottom - BAR_PX / 2), "ISR")?;
    let mut first_px = None;
    for (step, end_s) in history.spans(view.to_s).filter(|(step, _)| step.below_isr > 0) {
        let share = step.below_isr as f64 / history.partitions as f64;
        let height_px = (share * f64::from(BAR_PX)).round().max(3.0) as i32;
        let from_px = view.x_px(step.t_s);
        first_px.get_or_insert(from_px);
        canvas.bar(Ink::BarIsr, (from_px, bar_bottom - height_px), (view.x_px(end_s), bar_bottom))?;
    }
    let told = format!("partitions below full ISR, at most {}", most_below(history));
    lane_text(canvas, first_px.unwrap_or(LEFT_PX + 8), top_px, &told)
}

fn most_below(history: &ClusterHistory) -> String {
    let most = history.steps.iter().map(|s| s.below_isr).max().unwrap_or(0);
    format!("{most} of {}", history.partitions)
}

fn finding(data: &RunData, history: &ClusterHistory) -> String {
    let faults = &data.record.faults;
    let mut told: Vec<String> = faults.iter().take(3).map(fault_sentence).collect();
    if faults.len() > 3 {
        told.push(format!("{} more faults are in the table.", faults.len() - 3));
    }
    if faults.is_empty() {
        // The record of a run that died does not have its faults.
        let told_none = if data.record.state == RunState::Done {
            "There was no fault."
        } else {
            "No fault is on record."
        };
        told.push(told_none.to_owned());
    }
    if history.partitions > 0 {
        let n = history.leader_changes.len() as u64;
        told.push(format!(
            "{}; at most {} partitions were below full ISR at one time.",
            format::plural(n, "leader change", "leader changes"),
            most_below(history)
        ));
    }
    told.join(" ")
}

fn fault_sentence(fault: &FaultEntry) -> String {
    let at = &fault.at_s;
    let name = &fault.name;
    let Some(injected_s) = at.injected else {
        return format!("{name} was planned for {} and never injected.", format::moment(at.planned));
    };
    let begun = match at.took_effect {
        Some(t_s) => format!("{name} took effect at {}", format::moment(t_s)),
        None => format!("{name} was injected at {} and not seen to act", format::moment(injected_s)),
    };
    let healed = match at.healed {
        Some(t_s) => format!("healed at {}", format::moment(t_s)),
        None => "not healed".to_owned(),
    };
    let full = at.isr_full.map_or_else(String::new, |t_s| format!(", ISR full at {}", format::moment(t_s)));
    format!("{begun}, {healed}{full}.")
}

fn legend(view: &View, faults: &[FaultEntry], history: &ClusterHistory) -> Markup {
    html! {
        ul class="legend" {
            @if !faults.is_empty() {
                li { (area_sign(Ink::BarWait)) "injected, not yet in effect" }
                li { (area_sign(Ink::BarActs)) "in effect" }
                li { (area_sign(Ink::BarHeals)) "being healed" }
            }
            @if !faults.is_empty() || history.steps.iter().any(|s| s.below_isr > 0) {
                li { (area_sign(Ink::BarIsr)) "ISR not full" }
            }
            @if !history.leader_changes.is_empty() { li { (tick_sign(Ink::Blue)) "leader change" } }
            @if history.steps.iter().any(|s| s.leaderless > 0) {
                li { (area_sign(Ink::BarWait)) "some partition has no leader" }
            }
            @if view.has_outside() { li { (area_sign(Ink::Outside)) "warm-up, drain" } }
        }
    }
}

fn moments_table(data: &RunData) -> Markup {
    let columns = [
        words("fault"),
        numbers("planned"),
        numbers("injected"),
        numbers("took effect"),
        numbers("heal began"),
        numbers("healed"),
        numbers("ISR full"),
    ];
    let rows: Vec<Vec<String>> = data
        .record
        .faults
        .iter()
        .enumerate()
        .map(|(i, fault)| {
            let at = &fault.at_s;
            let moments =
                [Some(at.planned), at.injected, at.took_effect, at.heal_began, at.healed, at.isr_full];
            let cells = moments.into_iter().map(|t| format::or_missing(t, format::moment));
            std::iter::once(format!("#{} {}", i + 1, fault.name)).chain(cells).collect()
        })
        .collect();
    if rows.is_empty() {
        html! {}
    } else {
        table::table("Moments of the faults", &columns, &rows)
    }
}

fn leader_table(history: &ClusterHistory) -> Markup {
    let columns =
        [words("partition"), numbers("seen at"), numbers("from"), numbers("to"), numbers("leader epoch")];
    let rows: Vec<Vec<String>> = history
        .leader_changes
        .iter()
        .take(LEADER_CHANGES_MAX)
        .map(|c| {
            vec![
                c.partition.clone(),
                format::moment(c.t_s),
                c.from.to_string(),
                c.to.to_string(),
                c.leader_epoch.to_string(),
            ]
        })
        .collect();
    let left_out = history.leader_changes.len().saturating_sub(LEADER_CHANGES_MAX);
    html! {
        @if rows.is_empty() { p class="note" { "No partition changed its leader." } }
        @else { div class="tall" { (table::table("Leader changes", &columns, &rows)) } }
        @if left_out > 0 { p class="note" { (left_out) " more changes are left out." } }
    }
}
