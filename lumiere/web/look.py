"""How the page looks: its theme, and what lies where.

On a wide window what is asked for stands left and the video right; on a narrow one the video comes between the buttons and the
settings, as soon as there is one.
"""

import gradio as gr

THEME = gr.themes.Soft(
  font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"), spacing_size="sm"
)
CSS = """
#columns { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
  grid-template-areas: "order result" "settings result"; grid-template-rows: auto 1fr }
#order { grid-area: order } #result { grid-area: result } #settings { grid-area: settings }
#message { min-height: 4.5rem }
.line > * { padding: 0 }
#message .error { color: var(--error-text-color, #b91c1c); font-weight: 600 }
#message progress { width: 100%; height: .5rem; appearance: none; border: 0; border-radius: 1rem; overflow: hidden;
  background: var(--neutral-200); accent-color: var(--color-accent) }
#message progress::-webkit-progress-bar { background: var(--neutral-200) }
#message progress::-webkit-progress-value, #message progress::-moz-progress-bar { background: var(--color-accent) }
#upload label[data-testid=block-label] { position: static; width: fit-content }
#xt { height: auto !important; min-height: 6rem }
#seed { align-items: end }
@media (max-width: 700px) {
  #columns { grid-template-columns: minmax(0, 1fr); grid-template-areas: "order" "result" "settings";
    grid-template-rows: auto }
  #result:not(:has(video)) { display: none }
  #video { height: auto !important }
}
"""
