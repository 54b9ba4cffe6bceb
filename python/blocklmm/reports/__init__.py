"""What is printed and tabulated of a fit; reads fits, computes nothing of its own."""
