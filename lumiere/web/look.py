"""Theme and layout of the page.

Wide windows show the request on the left and the video on the right. Narrow ones show the video between the buttons and the
settings, once there is one.
"""

import gradio as gr

THEME = gr.themes.Soft(
  font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"), spacing_size="sm"
)
CSS = """
#columns { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
  grid-template-areas: "request result" "settings result"; grid-template-rows: auto 1fr }
#request { grid-area: request } #result { grid-area: result } #settings { grid-area: settings }
#message { min-height: 4.5rem }
.line > * { padding: 0 }
#message .error { color: var(--error-text-color, #b91c1c); font-weight: 600 }
#message progress { width: 100%; height: .5rem; appearance: none; border: 0; border-radius: 1rem; overflow: hidden;
  background: var(--neutral-200) }
#message progress::-webkit-progress-bar { background: var(--neutral-200) }
#message progress::-webkit-progress-value { background: var(--color-accent) }
#message progress::-moz-progress-bar { background: var(--color-accent) }
#upload label[data-testid=block-label] { position: static; width: fit-content }
#xt { height: auto !important; min-height: 6rem }
#seed { align-items: end }
@media (max-width: 700px) {
  #columns { grid-template-columns: minmax(0, 1fr); grid-template-areas: "request" "result" "settings";
    grid-template-rows: auto }
  #result:not(:has(video)) { display: none }
  #video { height: auto !important }
}
"""
