"""Colours that the colour-blind can tell apart (Okabe & Ito 2008, "Color Universal Design")."""

BLACK = "#000000"
BLUE = "#0072B2"
GREY = "#999999"
ORANGE = "#E69F00"
SKY = "#56B4E9"
VERMILION = "#D55E00"
