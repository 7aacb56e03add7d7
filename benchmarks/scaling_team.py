"""The part of docs/scaling.md about labelers: what a hundred thousand of them would take, by arithmetic from what
`python -m benchmarks.team` and `benchmarks.labeling` measured."""

LABELERS, PEAK = 100_000, 0.25  # people, and the share of them who work at the busiest hour
THOUGHT, HOURS_A_DAY = 180, 6  # seconds a ranking, hours of ranking a day
RANKINGS, COMPLETIONS = 1e9, 6.5
DRAFTS = 6  # that the page saves in a ranking's three minutes
WEB, DATABASE = 0.0147, 0.0044  # measured seconds of CPU a cycle: page, one draft, submit
DRAFT = 0.0048  # of them for a draft: a quarter, as it took a quarter of the waiting
ROW = 2_500  # bytes a ranking in PostgreSQL, measured with ten rankings of each item
OWN = 300 + COMPLETIONS * 550  # assumed: the item and the completions of a ranking that nobody repeats
CORE, GIGABYTE = 30, 0.10  # dollars a month, assumed

WORDS = """
## A hundred thousand labelers, a billion rankings

Also on paper. Measured: a cycle (the next item's page, a draft, the ranking) takes {cycle:.0f} ms of CPU in the web and
{database:.0f} ms in PostgreSQL, and a ranking {row:,.0f} bytes there with its indexes where ten people rank each item.
Assumed: a ranking takes three minutes and {drafts} drafts, a quarter of the people work at the busiest hour, each works
{hours} hours a day, and where nobody repeats an item its prompt and completions add {own:,.0f} bytes a ranking.

{table}

So labelers cost little: requests are small, and people are slow. What breaks first, in this order:

1. **Pages that read a project whole.** The evaluations page and leads' first look at agreement read every ranking
   once in a web process: 56 s of CPU at 300,000. Beyond some millions in a project they belong into a worker, as sums
   by labeler, item and day that each new ranking adds to, and the pages read those.
2. **`touchstone backup`** reads every row: at 50 MB/s {backup:.0f} hours. PostgreSQL's own (base backups and the log,
   by pgBackRest or the cloud's) take its place; artefacts are files written once and can be copied by themselves.
3. **Tables larger than memory.** Labelers touch the newest rows alone, so `ranking`, `ranking_place`,
   `completion_rating` and `completion` want to lie in partitions: by project (hash), in it by month, with the project
   in every key, since PostgreSQL asks for the partition's columns in unique ones. Ids come in the order of time
   already, so new rows stay at the end of their indexes until then.
4. **Freezing a dataset** streams, but in one process: {freeze:.0f} hours at an assumed 20,000 rankings a second.
   Shards of a snapshot, each a part of the prompts, by as many workers.
5. **One primary.** {commits:,.0f} requests a second at the peak are within one machine with a fast disk. What
   researchers read can go to replicas (every such page reads one state in a read-only transaction already); a
   labeler's own pages can't, because they must see what was just handed in. Beyond that, projects share nothing but
   people: whole projects move to installations of their own.

Nothing of this list is built: the largest that was measured is ten million rankings ([benchmarks.md](benchmarks.md)).
"""


def loads() -> dict[str, float]:
    """Cycles a second, cores and bytes, by what is asked."""
    cycles = LABELERS * PEAK / THOUGHT
    cpu = WEB + DATABASE + (DRAFTS - 1) * DRAFT
    share = DATABASE / (WEB + DATABASE)
    days = RANKINGS / (LABELERS * HOURS_A_DAY * 3600 / THOUGHT)
    return {"cycles": cycles, "web": cycles * cpu * (1 - share), "database": cycles * cpu * share, "days": days,
            "repeated": RANKINGS * ROW, "own": RANKINGS * (ROW + OWN)}  # fmt: skip


def as_section() -> str:
    found = loads()
    half = 0.5  # of a core's time: beyond that people wait for each other
    cores = found["web"] / half + 2 * found["database"] / half  # the database's a second time for its stand-by
    table = "\n".join(
        ["| what | |", "| --- | --- |",
         f"| rankings a second at the peak | {found['cycles']:.0f} |",
         f"| requests a second | {found['cycles'] * (2 + DRAFTS):,.0f} |",
         f"| web: cores at work, to keep at half load | {found['web']:.1f}, {found['web'] / half:.0f} |",
         f"| PostgreSQL: the same | {found['database']:.1f}, {found['database'] / half:.0f} |",
         f"| days to a billion rankings | {found['days']:.0f} |",
         f"| a billion rankings, ten of each item | {found['repeated'] / 1e12:.1f} TB |",
         f"| a billion rankings, one of each item | {found['own'] / 1e12:.1f} TB |",
         f"| a month, at ${CORE} a core and ${GIGABYTE:.2f} a GB, with a stand-by | "
         f"${cores * CORE + 2 * found['own'] / 1e9 * GIGABYTE:,.0f} |"]
    )  # fmt: skip
    return WORDS.format(
        cycle=1000 * WEB, database=1000 * DATABASE, row=ROW, drafts=DRAFTS, hours=HOURS_A_DAY, own=OWN, table=table,
        backup=found["own"] / 50e6 / 3600, freeze=RANKINGS / 20_000 / 3600,
        commits=found["cycles"] * (2 + DRAFTS),
    )  # fmt: skip
