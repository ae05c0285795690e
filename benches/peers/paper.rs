//! The figures as people read them: lines on a terminal, tables and charts in `docs/`.

use std::{fmt::Write, fs, path::Path, time::SystemTime};

use crate::{
    chart::{self, Group, grouped, times},
    contender::{Contender, Field},
    growth::Curves,
    row::{Figure, Goal, Measured, Series, Times, Unit},
    rows::PITON,
};

/// What stands above all figures.
#[derive(Debug)]
pub struct Paper {
    about: Vec<String>,
}

impl Paper {
    pub fn new(machine: &str, field: &Field, rounds: usize) -> Self {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let date = date.split(' ').skip(1).take(3).collect::<Vec<_>>().join(" ");
        let version = |peer: &Contender| format!("{} {}", peer.name, peer.version);
        let mut versions = vec![format!("{PITON} {}", env!("CARGO_PKG_VERSION"))];
        versions.extend(field.peers().iter().map(version));
        let mut about = vec![
            format!("{date}; {machine}"),
            versions.join(", "),
            "`--durability none` unless a row says otherwise (the peers never fsync); log level \
             `warn`; body limits of peers raised"
                .to_owned(),
            format!("{rounds} rounds, minimum · median; ratios are those of minimums"),
        ];
        if field.quick {
            about.push("`--quick`: small sizes and short looks, only to see that it works".into());
        }
        for (name, why) in &field.missing {
            about.push(format!("{name} takes no part: {}", why.trim_start_matches("error: ")));
        }
        Self { about }
    }

    pub fn about(&self) -> String {
        self.about.join("\n")
    }

    fn listed(&self) -> String {
        let mut list = String::new();
        for line in &self.about {
            let _ = writeln!(list, "- {line}");
        }
        list
    }

    /// Puts the rows into the page, with their charts.
    pub fn write_rows(&self, rows: &[Measured]) {
        let mut text = format!("{}\n{}", self.listed(), glance(rows));
        for (file, title, figure) in [
            ("time", "Wall time, as a multiple of piton's", Figure::Cost),
            ("cpu", "Server CPU, as a multiple of piton's", Figure::Cpu),
        ] {
            let legend = "to the right of 1: piton is ahead; piton hashes every byte, peers none";
            draw(file, &chart::bars(title, legend, &peers(rows, figure)));
            let _ = writeln!(text, "\n![{title}](benchmarks/{file}.svg)");
        }
        let title = "Server CPU, as a multiple of the floor";
        let legend = "the floor: a thread, or hyper, that does the same work and nothing else";
        draw("floor", &chart::bars(title, legend, &floors(rows)));
        let _ = writeln!(text, "\n![{title}](benchmarks/floor.svg)");
        let _ = write!(text, "\n### Goals\n\n{}", goals_table(rows));
        for row in rows {
            let _ = write!(text, "\n### {}\n\n{}", title_of(row), table(row));
        }
        replace("rows", &text);
    }

    /// Puts the curves into the page.
    pub fn write_growth(&self, curves: &[Curves]) {
        let mut text = self.listed();
        for curves in curves {
            draw(curves.id, &chart::lines(curves));
            let _ = writeln!(text, "\n![{}](benchmarks/{}.svg)\n", curves.of, curves.id);
            let names: Vec<_> = curves.lines.iter().map(|(name, _)| *name).collect();
            let _ = writeln!(text, "| {} | {} |", curves.of, names.join(" | "));
            let _ = writeln!(text, "|--:|{}", "--:|".repeat(names.len()));
            for (at, (count, _)) in curves.lines[0].1.iter().enumerate() {
                let values = curves.lines.iter().map(|(_, line)| format!("{:.0} µs", line[at].1));
                let values: Vec<_> = values.collect();
                let _ = writeln!(text, "| {} | {} |", grouped(*count), values.join(" | "));
            }
            let most = curves.lines.iter().map(|(_, line)| times(Curves::growth(line)));
            let most: Vec<_> = most.collect();
            let _ = writeln!(text, "| most ÷ first | {} |", most.join(" | "));
        }
        replace("growth", &text);
    }
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md");

fn draw(name: &str, svg: &str) {
    let folder = Path::new(PAGE).with_extension("");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.svg")), svg).unwrap();
}

/// Puts `text` between the marks of that name.
fn replace(name: &str, text: &str) {
    let page = fs::read_to_string(PAGE).unwrap();
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (head, rest) = page.split_once(&begin).expect("a mark where it begins");
    let (_, tail) = rest.split_once(&end).expect("a mark where it ends");
    fs::write(PAGE, format!("{head}{begin}\n{text}\n{end}{tail}")).unwrap();
}

/// The series that the others are multiples of.
fn base(row: &Measured) -> Option<&Series> {
    row.series.iter().find(|series| series.name.starts_with(PITON))
}

/// As a multiple of piton's.
fn ratio(row: &Measured, series: &Series, figure: Figure) -> Option<f64> {
    multiple(series, base(row)?, figure)
}

/// None where one of both was too little for the clock.
fn multiple(series: &Series, of: &Series, figure: Figure) -> Option<f64> {
    let multiple = series.best(figure)?.0 / of.best(figure)?.0;
    (multiple.is_finite() && multiple > 0.0).then_some(multiple)
}

/// As a multiple of the floor's CPU.
fn above_floor(row: &Measured, series: &Series) -> Option<f64> {
    multiple(series, row.named(series.floor?)?, Figure::Cpu)
}

fn title_of(row: &Measured) -> String {
    let mut title = row.title.chars();
    title.next().map_or_else(String::new, |first| first.to_uppercase().chain(title).collect())
}

/// A cost of a row as it is shown, with its unit where `full`.
fn cost(unit: Unit, value: f64) -> String {
    match unit {
        Unit::PerGib => format!("{value:.2}"),
        Unit::Rate => grouped((1.0 / value).round() as usize),
        Unit::Millis if value < 10.0 => format!("{value:.2}"),
        Unit::Millis | Unit::Kib => grouped(value.max(0.0).round() as usize),
    }
}

fn cpu(unit: Unit, value: f64) -> String {
    if unit == Unit::Rate { format!("{:.1}", value * 1e6) } else { format!("{value:.2}") }
}

const fn cost_head(unit: Unit) -> &'static str {
    match unit {
        Unit::PerGib => "wall, s/GiB",
        Unit::Rate => "per s",
        Unit::Millis => "ms",
        Unit::Kib => "KiB",
    }
}

/// The cells of an entry, and their heads.
fn cells(row: &Measured, series: &Series) -> Vec<String> {
    let pair = |of: Option<(f64, f64)>, show: fn(Unit, f64) -> String| {
        of.map_or_else(String::new, |(least, middle)| {
            format!("{} · {}", show(row.unit, least), show(row.unit, middle))
        })
    };
    let shown = |of: Option<f64>| of.map_or_else(String::new, times);
    let mut cells =
        vec![pair(series.best(Figure::Cost), cost), shown(ratio(row, series, Figure::Cost))];
    if matches!(row.unit, Unit::PerGib | Unit::Rate) {
        cells.extend([
            pair(series.best(Figure::Cpu), cpu),
            shown(ratio(row, series, Figure::Cpu)),
            shown(above_floor(row, series)),
            series.client().map_or_else(String::new, |of| cpu(row.unit, of)),
        ]);
    }
    cells
}

fn heads(unit: Unit) -> Vec<&'static str> {
    let mut heads = vec![cost_head(unit), "time ÷ piton"];
    match unit {
        Unit::PerGib => heads.push("CPU, s/GiB"),
        Unit::Rate => heads.push("CPU, µs each"),
        Unit::Millis => return heads,
        Unit::Kib => return vec![cost_head(unit), "÷ piton"],
    }
    heads.extend(["CPU ÷ piton", "CPU ÷ floor", "client's CPU"]);
    heads
}

/// A row for the terminal.
pub fn text(row: &Measured) -> String {
    let mut text = format!("\n{} ({})\n{:<36}", title_of(row), row.id, "");
    for head in heads(row.unit) {
        let _ = write!(text, "{head:>18}");
    }
    for series in &row.series {
        let _ = write!(text, "\n{:<36}", series.name);
        for cell in cells(row, series) {
            let _ = write!(text, "{cell:>18}");
        }
        if let Some(remark) = series.remark() {
            let _ = write!(text, "  {remark}");
        }
    }
    text + "\n"
}

/// A row for the page.
fn table(row: &Measured) -> String {
    let heads = heads(row.unit);
    let mut text = format!("| | {} |\n|---|{}\n", heads.join(" | "), "--:|".repeat(heads.len()));
    for series in &row.series {
        let remark = series.remark().map_or_else(String::new, |remark| format!(" ({remark})"));
        let cells = cells(row, series).join(" | ");
        let _ = writeln!(text, "| {}{remark} | {cells} |", series.name);
    }
    text
}

/// Everything in one table: piton's figure, and the others' time as its multiple.
fn glance(rows: &[Measured]) -> String {
    let rows: Vec<_> = rows.iter().filter(|row| row.named(PITON).is_some()).collect();
    let mut names: Vec<&str> = Vec::new();
    for series in rows.iter().flat_map(|row| &row.series) {
        if series.is_peer() && !names.contains(&series.name.as_str()) {
            names.push(&series.name);
        }
    }
    let (joined, marks) = (names.join(" | "), "--:|".repeat(names.len()));
    let mut text = format!("| work | piton | | {joined} |\n|---|--:|---|{marks}\n");
    for row in rows {
        if !row.series.iter().any(Series::is_peer) {
            continue;
        }
        let least = row.named(PITON).and_then(|piton| piton.best(Figure::Cost)).unwrap().0;
        let unit = cost_head(row.unit);
        let _ = write!(text, "| {} | {} | {unit} |", row.title, cost(row.unit, least));
        for name in &names {
            let series = row.named(name);
            let found = series.and_then(|series| ratio(row, series, Figure::Cost));
            let found = found.map_or_else(|| "-".to_owned(), times);
            let remark = series.and_then(Series::remark);
            let remark = remark.map_or_else(String::new, |remark| format!(", but {remark}"));
            let _ = write!(text, " {found}{remark} |");
        }
        text.push('\n');
    }
    text
}

/// Peers as multiples of piton, row by row.
fn peers(rows: &[Measured], figure: Figure) -> Vec<Group> {
    let group = |row: &Measured| {
        let peers = row.series.iter().filter(|series| series.is_peer());
        let bar = |series: &Series| Some((series.name.clone(), ratio(row, series, figure)?));
        let bars: Vec<_> = peers.filter_map(bar).collect();
        (!bars.is_empty()).then(|| (row.title.clone(), bars))
    };
    rows.iter().filter_map(group).collect()
}

/// piton as multiples of the floor, row by row.
fn floors(rows: &[Measured]) -> Vec<Group> {
    let group = |row: &Measured| {
        let bar = |series: &Series| Some((series.name.clone(), above_floor(row, series)?));
        let bars: Vec<_> = row.series.iter().filter_map(bar).collect();
        (!bars.is_empty()).then(|| (row.title.clone(), bars))
    };
    rows.iter().filter_map(group).collect()
}

/// What a goal says, what was measured and what it may be at most, and whether it is.
fn judged(row: &Measured, goal: &Goal) -> [String; 4] {
    let of = if goal.figure == Figure::Cpu { "CPU" } else { "time" };
    let of = if row.unit == Unit::Kib { "memory" } else { of };
    let says = match goal.times {
        Times::One if row.unit == Unit::Rate => {
            format!("≥ {} per s", cost(row.unit, goal.at_most))
        }
        Times::One => format!("≤ {} {}", goal.at_most, cost_head(row.unit)),
        Times::Of(name) => format!("{of} ≤ {} × {name}", goal.at_most),
        Times::BestPeer if row.unit == Unit::Rate => {
            format!("≥ {:.1} × the best peer's rate", 1.0 / goal.at_most)
        }
        Times::BestPeer => format!("{of} ≤ {} × the best peer", goal.at_most),
    };
    let show = |value| match goal.figure {
        Figure::Cpu => cpu(row.unit, value),
        Figure::Cost => cost(row.unit, value),
    };
    let name = format!("{} ({})", row.title, goal.of);
    match row.judge(goal) {
        Some((is, most)) => {
            let verdict = if is <= most { "reached" } else { "**missed**" };
            [name, says, format!("{}, goal {}", show(is), show(most)), verdict.to_owned()]
        }
        None => [name, says, String::new(), "not measured".to_owned()],
    }
}

/// All goals for the terminal.
pub fn goals(rows: &[Measured]) -> String {
    let mut text = "\nGoals\n".to_owned();
    for (row, goal) in rows.iter().flat_map(|row| row.goals.iter().map(move |goal| (row, goal))) {
        let [name, says, figures, verdict] = judged(row, goal);
        let verdict = verdict.trim_matches('*');
        let _ = writeln!(text, "{verdict:<13} {name}: {says}: {figures}");
    }
    text
}

fn goals_table(rows: &[Measured]) -> String {
    let mut text = "| work | goal | figures | |\n|---|---|---|---|\n".to_owned();
    for (row, goal) in rows.iter().flat_map(|row| row.goals.iter().map(move |goal| (row, goal))) {
        let _ = writeln!(text, "| {} |", judged(row, goal).join(" | "));
    }
    text
}
