# SPDX-License-Identifier: Apache-2.0
# Builds cairnfs and runs its unit and command line tests: nix build -f nix
# (The mount tests need root and /dev/fuse, which a sandbox does not have.)
{ pkgs ? import <nixpkgs> { } }:

pkgs.stdenv.mkDerivation {
  pname = "cairnfs";
  version = "0.1.0";
  src = pkgs.lib.cleanSource ../.;

  nativeBuildInputs = with pkgs; [ meson ninja pkg-config python3 ];
  buildInputs = with pkgs; [ fuse3 jansson lmdb xxHash zstd ];
  nativeCheckInputs = with pkgs; [ cmocka jq mandoc openssh ];
  checkInputs = [ pkgs.cmocka ];

  doCheck = true;
  postPatch = "patchShebangs tests scripts";
  checkPhase = ''
    runHook preCheck
    meson test --print-errorlogs --suite unit --suite cli
    runHook postCheck
  '';

  meta = {
    description = "FUSE filesystem that caches far storage as content-defined chunks";
    license = pkgs.lib.licenses.asl20;
    platforms = pkgs.lib.platforms.linux;
    mainProgram = "cairnfs";
  };
}
