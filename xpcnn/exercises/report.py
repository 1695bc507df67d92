"""A report in words, English or Korean: which of the three checks fails, and at which element."""

from collections.abc import Mapping
from typing import Any

from xpcnn.exercises.checks import CHECKS, Mistake, Report
from xpcnn.exercises.exercise import Exercise

LANGUAGES = ("en", "ko")

WORDS: dict[str, Mapping[str, str]] = {
    "en": {
        "textbook": "textbook, xpcnn.ops",
        "identity": "identity, {formula}",
        "differences": "differences, (L(x + e) - L(x - e)) / 2e",
        "passes": "passes",
        "fails": "fails",
        "cases": "{cases} cases",
        "again": "for the same reason",
        "in": "in the case {case}",
        "missing": "there is no function {function}; define it under this name",
        "unwritten": "{function} is not written yet",
        "raised": "{function} raises {error} (line {line})",
        "changed": "{function} changes its argument number {number}; work on a copy",
        "nothing": "{function} returns None where {names} is expected; does it end in return?",
        "count": "{function} returns {got} results where these are expected: {names}",
        "kind": "{function} returns {got} where the array {what} is expected",
        "shape": "{function}: {what} has the shape {got}, expected {expected}",
        "differs": "{function}: {element} is {got:.6g}, expected {expected:.6g}; {wrong} of {size} elements differ",
        "infinite": "there are infinite or NaN elements: subtract the largest element before exp",
        "places": "the numbers are right, but in wrong places: look at reshape and transpose",
        "ratio": "every element is {ratio:.4g} times the expected one: a missing or superfluous factor, perhaps 1/N",
        "bias": "within a channel every element is off by the same number: look at the bias",
        "flipped": "the filter is flipped: what CNNs call convolution is cross-correlation, without flipping",
        "unbiased": "the variance is divided by M - 1: divide by M",
        "all": "Well done: all three checks pass.",
        "backward": "Forward is right. The mistake is in backward.",
        "forward": "Backward fits your forward. It is forward that differs from the textbook.",
    },
    "ko": {
        "textbook": "교과서, xpcnn.ops",
        "identity": "항등식, {formula}",
        "differences": "수치 미분, (L(x + e) - L(x - e)) / 2e",
        "passes": "통과",
        "fails": "실패",
        "cases": "{cases}가지 경우",
        "again": "같은 이유",
        "in": "경우: {case}",
        "missing": "{function} 함수가 없습니다. 이 이름으로 정의하세요",
        "unwritten": "{function} 함수를 아직 작성하지 않았습니다",
        "raised": "{function}에서 예외가 발생했습니다: {error} ({line}번째 줄)",
        "changed": "{function}이(가) {number}번째 인수를 바꿉니다. 복사본에서 계산하세요",
        "nothing": "{function}이(가) {names} 대신 None을 반환합니다. return으로 끝나나요?",
        "count": "{function}이(가) 결과 {got}개를 반환합니다. 필요한 결과: {names}",
        "kind": "{function}이(가) 배열 {what} 대신 {got}을(를) 반환합니다",
        "shape": "{function}: {what}의 형상이 {got}입니다. 올바른 형상은 {expected}입니다",
        "differs": "{function}: {element} 값이 {got:.6g}입니다. 올바른 값은 {expected:.6g}입니다. "
        "원소 {size}개 중 {wrong}개가 다릅니다",
        "infinite": "무한대나 NaN이 있습니다. exp를 계산하기 전에 최댓값을 빼세요",
        "places": "값은 맞지만 위치가 다릅니다. reshape와 transpose를 확인하세요",
        "ratio": "모든 원소가 올바른 값의 {ratio:.4g}배입니다. 빠지거나 더해진 계수(예: 1/N)를 확인하세요",
        "bias": "채널마다 모든 원소가 같은 값만큼 다릅니다. 편향을 확인하세요",
        "flipped": "필터가 뒤집혔습니다. CNN에서 합성곱이라 부르는 것은 필터를 뒤집지 않는 교차상관입니다",
        "unbiased": "분산을 M - 1로 나누었습니다. M으로 나누세요",
        "all": "잘했습니다. 세 가지 검사를 모두 통과했습니다.",
        "backward": "순전파는 맞습니다. 역전파가 틀렸습니다.",
        "forward": "역전파는 작성한 순전파와 맞습니다. 교과서와 다른 것은 순전파입니다.",
    },
}


def text(report: Report, exercise: Exercise, language: str = "en") -> str:
    """Return a report as lines of text."""
    words, lines, said = WORDS[language], [], None
    for number, name in enumerate(CHECKS, start=1):
        mistake, check = report.mistakes[name], words[name].format(formula=exercise.formula)
        head = f"{number} {check}: {words['fails' if mistake else 'passes']}"
        if mistake is None:
            lines.append(f"{head}, {words['cases'].format(cases=report.cases)}")
        elif said is not None and mistake == said:
            lines.append(f"{head}, {words['again']}")
        else:
            lines += [head, *("    " + line for line in _explained(mistake, words))]
        said = said or mistake
    if report.passed:
        lines.append(words["all"])
    elif conclusion := _conclusion(report, exercise.backward):
        lines.append(words[conclusion])
    return "\n".join(lines)


def _explained(mistake: Mistake, words: Mapping[str, str]) -> list[str]:
    details: dict[str, Any] = {"function": mistake.function, **mistake.details}
    hint = details.pop("hint", None)
    if mistake.kind == "differs":
        place = ", ".join(map(str, details["place"]))
        details["element"] = f"{details['name']}[{place}]" if place else details["name"]
    lines = [words[mistake.kind].format(**details)]
    if hint is not None:
        kind, ratio = hint
        lines.append(words[kind].format(ratio=ratio))
    if mistake.kind not in ("missing", "unwritten"):
        lines.append(words["in"].format(case=mistake.case))
    return lines


def _conclusion(report: Report, backward: str) -> str | None:
    """Return which function is to blame, where the three checks together tell it."""
    textbook, identity, differences = (report.mistakes[name] for name in CHECKS)
    if textbook is None or textbook.kind != "differs":
        return None
    if textbook.function == backward:
        return "backward"
    return "forward" if identity is None and differences is None else None
