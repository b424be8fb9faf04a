"""The web study: participants label pairs, ask their own questions and judge answers blind."""
