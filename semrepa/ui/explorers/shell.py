"""What explorers are: a pure `render` of a chosen state, thin shell of sliders, static answer for reports.

As the last line of a cell an explorer shows its sliders in an interactive notebook, and its static figure
in a headless run, so that nothing in a report depends on a kernel. A shell holds one picture, never the
data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from semrepa.ui.show import Lines, is_headless, show
from semrepa.ui.style import SCREEN_DPI, to_png

MOST_IN_MENU = 6
"""Choices that a menu holds; more of them get a slider."""


@dataclass(frozen=True)
class Explorer:
    """Something to look at under a few controls."""

    render: Callable[..., Figure]
    """Pure: one keyword per control in, a figure out."""
    controls: Mapping[str, Sequence[object]]
    """Name of each control to its choices, in order."""
    start: Mapping[str, object] = field(default_factory=dict)
    """First state, and the state of the static figure; the first choice where not given."""
    text: str = ""
    """One line that says what is shown."""
    note: Callable[..., str] | None = None
    """Pure: one keyword per control in, lines to be copied out, which stand between controls and picture."""
    overview: Callable[[], Figure] | None = None
    """Pure: all states at a glance, for reports; None: the first state stands for all."""

    def state(self) -> dict[str, object]:
        """The first state: one choice per control."""
        return {name: self.start.get(name, choices[0]) for name, choices in self.controls.items()}

    def static(self) -> Figure:
        """The figure that a report shows."""
        return self.overview() if self.overview else self.render(**self.state())

    def widgets(self) -> Any:
        """Build the interactive shell: one slider or menu per control above the picture.

        Returns:
            An `ipywidgets.VBox` of controls, the note where there is one, and the picture; moving a control
            redraws it.
        """
        import ipywidgets

        first = self.render(**self.state())
        width = round(first.get_size_inches()[0] * SCREEN_DPI)
        image = ipywidgets.Image(value=to_png(first), format="png", width=width, layout={"max_width": "100%"})
        controls = {name: self._control(name) for name in self.controls}
        note = ipywidgets.HTML(Lines(self.note(**self.state())).html()) if self.note else None

        def redraw(_: object) -> None:
            state = {name: control.value for name, control in controls.items()}
            image.value = to_png(self.render(**state))
            if self.note and note:
                note.value = Lines(self.note(**state)).html()

        for control in controls.values():
            control.observe(redraw, names="value")
        row = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
        return ipywidgets.VBox([row, *([note] if note else []), image])

    def _control(self, name: str) -> Any:
        """A menu of words or of a few numbers; a slider for many numbers."""
        import ipywidgets

        choices = list(self.controls[name])
        is_long = len(choices) > MOST_IN_MENU and not all(isinstance(choice, str) for choice in choices)
        more = {"continuous_update": False} if is_long else {}
        return (ipywidgets.SelectionSlider if is_long else ipywidgets.Dropdown)(
            options=[
                (f"{choice:g}" if isinstance(choice, float) else str(choice), choice) for choice in choices
            ],
            value=self.state()[name],
            description=name.replace("_", " "),
            style={"description_width": "initial"},
            **more,
        )

    def _ipython_display_(self) -> None:
        if not is_headless():
            show(self.widgets())
            return
        show(self.static(), text=self.text)
        if self.note:
            show(Lines(self.note(**self.state())))
