"""Streamlit's options: nothing reported, no developer menus, a calm look in light and dark."""

from __future__ import annotations

from typing import Any

OPTIONS: dict[str, Any] = {
    "browser.gatherUsageStats": False,  # would be sent by the user's browser, which may not be isolated
    "client.showErrorDetails": "none",  # a traceback may hold words of a document
    "client.showErrorLinks": False,  # links to search engines and chat services
    "client.toolbarMode": "minimal",
    "client.allowedOrigins": [],
    "global.developmentMode": False,
    "logger.level": "warning",
    "runner.magicEnabled": False,
    "server.enableAgentApi": False,
    "server.enableStaticServing": False,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": 200,
    "server.runOnSave": False,
    "server.showEmailPrompt": False,
    "server.xsrfCookieSameSite": "strict",
    "theme.baseRadius": "0.5rem",
    "theme.showWidgetBorder": True,
    "theme.light.primaryColor": "#1d5c6b",
    "theme.light.backgroundColor": "#fcfcfa",
    "theme.light.secondaryBackgroundColor": "#f1f2ee",
    "theme.light.textColor": "#1b2226",
    "theme.light.borderColor": "#dcded8",
    "theme.dark.primaryColor": "#74bccb",
    "theme.dark.backgroundColor": "#14181b",
    "theme.dark.secondaryBackgroundColor": "#1e2428",
    "theme.dark.textColor": "#e6e8e5",
    "theme.dark.borderColor": "#343c41",
}

CSS = """
.stMainBlockContainer {padding: 3.2rem 2.5rem 1rem;}
[data-testid="stBottomBlockContainer"] {padding: 1rem 2.5rem 2.2rem;}
.stChatMessage, .stChatMessage:has(.sr-question) {background: none; padding: .9rem 1rem;}
.stChatMessage:has(.sr-question) {background: rgb(125 130 120 / 10%);}
.sr-say, .sr-question {white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.6; margin: 0;}
.sr-stage {display: flex; gap: .5rem; align-items: center; margin: .2rem 0 0; opacity: .75; font-size: .92rem;}
.sr-dot {width: .55rem; height: .55rem; border-radius: 50%; background: currentColor;
  animation: sr-pulse 1.2s infinite;}
@keyframes sr-pulse {50% {opacity: .2;}}
.stApp[data-test-script-state="notRunning"] .sr-stage {display: none;}
.stApp:not([data-test-script-state="notRunning"]) .sr-stopped {display: none;}
.sr-stopped {font-size: .85rem; opacity: .75; margin: 0;}
@media (prefers-reduced-motion: reduce) {.sr-dot {animation: none;}}
.sr-empty {text-align: center; padding: 14vh 1rem 2rem;}
.sr-empty h2 {font-size: 1.5rem; font-weight: 600; padding: 0; margin: 0 0 .4rem;}
.sr-empty p {opacity: .75; margin: 0 auto; max-width: 30rem;}
.sr-status {font-size: .85rem; line-height: 1.7; opacity: .85; margin: 0; overflow-wrap: anywhere;}
.sr-safe::before {content: ""; display: inline-block; width: .5rem; height: .5rem; border-radius: 50%;
  background: #3f9a6b; margin-right: .45rem; vertical-align: .08em;}
.sr-doc {font-weight: 600; overflow-wrap: anywhere; margin: 0;}
.sr-where {opacity: .8; font-size: .9rem; margin: 0;}
a.sr-where, .sr-status a {color: inherit; text-decoration: underline; text-underline-offset: .2em;}
.st-key-footer {position: fixed; bottom: 1.2rem; width: 15rem;}
.stColumn:has(.st-key-viewer), .stColumn:has(.st-key-details) {position: sticky; top: 3.2rem; align-self: flex-start;}
"""

NARROW = '.stMainBlockContainer, [data-testid="stBottomBlockContainer"] {max-width: 58rem; margin: 0 auto;}'
"""Added while no page is open beside the conversation: a comfortable line for reading."""
